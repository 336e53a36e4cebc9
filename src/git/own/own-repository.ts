/** Offers the operator's own repository like one that a request names, for heads that strangers pushed. */

import { GitError } from '../../errors.ts';
import type { Git } from '../git.ts';
import { diffNames } from '../read/repository-reader.ts';
import { checkOutPlainly } from '../requested/plain-checkout.ts';
import type { RemoteRepositories } from '../requested/remote-repositories.ts';
import type { ScratchRepository } from '../requested/scratch-repository.ts';
import type { Mirror } from './mirror.ts';

export interface OwnRepositoryOptions {
  git: Git;
  mirror: Pick<Mirror, 'fetch'>;
  /** Opens a repository on top of the mirror, so that nothing of a stranger enters what is deployed from. */
  openScratch(): Promise<ScratchRepository>;
}

/** Ignores the address and the credentials of the request: they are the operator's own. */
export function createOwnRepository(options: OwnRepositoryOptions): Pick<RemoteRepositories, 'open'> {
  const { git, mirror, openScratch } = options;
  return {
    async open({ signal }) {
      await mirror.fetch(signal);
      const scratch = await openScratch();
      const { url } = git.remote;
      const { directory } = scratch;
      let head = '0'.repeat(40);
      return {
        url,
        directory,
        async fetch(ref, during = signal) {
          const commit = await scratch.fetch(ref, during);
          if (commit === null) {
            throw new GitError('unknown_revision', `${ref} is not in ${url}.`, {
              nextAction: 'Check that it was pushed.',
            });
          }
          head = commit;
          const { subject } = await scratch.reader(commit).commit(commit);
          return { commit, subject };
        },
        checkOut: (commit, target, during = signal) =>
          checkOutPlainly({ git, mirrorDirectory: directory, commit, directory: target, signal: during }),
        diffNames: (from, to) => diffNames(scratch.reader(to), from, to),
        get reader() {
          return scratch.reader(head);
        },
        release: () => scratch.remove(),
      };
    },
  };
}
