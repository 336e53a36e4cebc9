/** iac-runner rollback: takes services back to an earlier commit of the branch, and keeps them there. */

import { UsageError } from '../errors.ts';
import { requestSync } from './client/request-sync.ts';
import { parseOptions, type Subcommand, URL_HELP } from './subcommand.ts';

export const rollback: Subcommand = {
  summary: 'Take services back to an earlier commit, and keep them there.',
  help: `Usage: iac-runner rollback SERVICE... --to COMMIT [--force] [--follow] [--url URL]

Syncs the services as of COMMIT, a full commit id of the branch, and pins them there: pushes, sync --all and
reconciliation leave them alone until iac-runner unpin. Signed with SYNC_SECRET, or with
WEBHOOK_SECRET where that is not set.

Options:
  --to COMMIT       where to go, 40 hexadecimal digits
  --force           do not wait for a sync window, and run also what is unchanged
  --follow          show the run while it runs, and exit with 0 only when it succeeded
${URL_HELP}`,
  async run(args) {
    const { values, positionals: services } = parseOptions(args, {
      allowPositionals: true,
      options: {
        to: { type: 'string' },
        force: { type: 'boolean' },
        follow: { type: 'boolean' },
        url: { type: 'string' },
      },
    });
    if (services.length === 0) throw new UsageError('Name the services to take back.');
    const { to: revision, force, ...options } = values;
    if (revision === undefined) throw new UsageError('Say with --to which commit to go back to.');
    if (!/^[0-9a-f]{40}$/.test(revision)) {
      throw new UsageError('--to takes a full commit id of 40 hexadecimal digits; git rev-parse prints it.');
    }
    return requestSync({ services, revision, ...(force && { force }) }, options);
  },
};
