/** The checks of the repository for /ready: whether the remote answers, has the branch, and has good rules at its head. */

import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import type { Config } from '../../config.ts';
import { describeError } from '../../errors.ts';
import type { Git } from '../../git/git.ts';
import type { Mirror } from '../../git/own/mirror.ts';
import { type LoadedRules, loadRules } from '../../pipelines/rules/load-rules.ts';
import { scopeOfInput } from '../../runs/place.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { SECOND } from '../../units.ts';
import type { Checks } from '../../web/frame/readiness.ts';

/** The remote is asked once in this time, for any number of requests. The answer of /ready is never older than 30 s. */
const REMOTE_MS = 20 * SECOND;

export interface BranchChecksOptions {
  git: Git;
  mirror: Mirror;
  ledger: RunStore['ledger'];
  now(): number;
  signal: AbortSignal;
}

type Settings = Pick<Config, 'git' | 'requireSignedCommits' | 'commitSigners'>;

export function branchChecks(config: Settings, options: BranchChecksOptions): Checks {
  const { branch } = config.git;
  const heads = createHeadQuestion(config, options);
  const rulesAtHead = () => loadRulesAtHead(branch, options);

  return {
    async remote() {
      await heads();
    },
    async branch() {
      // The check `remote` reports a remote that does not answer.
      const found = await heads().catch(() => null);
      if (found !== '') return;
      throw new Error(`The repository has no branch ${branch}. Push it, or correct GIT_BRANCH.`);
    },
    async rules() {
      const problem = (await rulesAtHead())?.problems[0];
      return problem === undefined ? undefined : `${problem}. The last good rules are used.`;
    },
    async signers() {
      const isDemanded = config.requireSignedCommits || (await rulesAtHead())?.rules.requireSignature;
      if (isDemanded) await requireSigners(config.commitSigners);
    },
  };
}

/** Resolves to the rules at the last fetched head, or to null before the first fetch. */
async function loadRulesAtHead(
  branch: string,
  { mirror, ledger }: Pick<BranchChecksOptions, 'mirror' | 'ledger'>,
): Promise<LoadedRules | null> {
  const head = await mirror.head();
  return head === null ? null : loadRules(mirror, head, (await ledger(scopeOfInput({ branch }))).rules);
}

/** Resolves to false if the rules of the branch are known, and no service has a task of INVOKE_COMMAND. */
export async function needsTaskRunner(
  branch: string,
  options: Pick<BranchChecksOptions, 'mirror' | 'ledger'>,
): Promise<boolean> {
  // Another check reports a repository that cannot be read.
  const loaded = await loadRulesAtHead(branch, options).catch(() => null);
  return loaded === null || loaded.rules.services.some(({ task }) => typeof task === 'string');
}

/** Resolves to the remote's line about the branch, empty if it has no such branch. Throws if it does not answer. */
function createHeadQuestion(
  { git: { branch } }: Settings,
  { git, mirror, now, signal }: BranchChecksOptions,
): () => Promise<string> {
  const { url } = git.remote;
  const args = ['ls-remote', '--quiet', '--', url, `refs/heads/${branch}`];
  let last: { at: number; answer: Promise<string> } | null = null;

  async function ask(): Promise<string> {
    try {
      const options = { gitDirectory: mirror.directory, remote: true, signal };
      return (await git.read(`Asking ${url} for ${branch} failed`, args, options)).toString().trim();
    } catch (error) {
      throw new Error(describeError(error), { cause: error });
    }
  }

  return () => {
    if (last === null || now() - last.at > REMOTE_MS) last = { at: now(), answer: ask() };
    return last.answer;
  };
}

async function requireSigners(file: string | null): Promise<void> {
  const remedy = 'Commits must be signed: set COMMIT_SIGNERS to the file of allowed signers.';
  if (file === null) throw new Error(remedy);
  await access(file, constants.R_OK).catch((cause: unknown) => {
    throw new Error(`COMMIT_SIGNERS cannot be read: ${describeError(cause)}. ${remedy}`, { cause });
  });
}
