/** iac-runner unpin: ends rollbacks, so that pushes reach their services again. */

import { UsageError } from '../errors.ts';
import { requestSync } from './client/request-sync.ts';
import { PLACE_HELP, PLACE_OPTIONS, parseOptions, type Subcommand, URL_HELP } from './subcommand.ts';

export const unpin: Subcommand = {
  summary: 'Let pushes reach rolled back services again.',
  help: `Usage: iac-runner unpin SERVICE... [--environment NAME] [--follow] [--url URL]

Ends an iac-runner rollback: the services are synced as of the branch head, and pushes reach them again.
Signed with SYNC_SECRET, or with WEBHOOK_SECRET where that is not set.

Options:
  --follow          show the run while it runs, and exit with 0 only when it succeeded
${PLACE_HELP}${URL_HELP}`,
  async run(args) {
    const { values, positionals: services } = parseOptions(args, {
      allowPositionals: true,
      options: { follow: { type: 'boolean' }, ...PLACE_OPTIONS, url: { type: 'string' } },
    });
    if (services.length === 0) throw new UsageError('Name the services to unpin.');
    const { environment, repository, ...options } = values;
    return requestSync({ services, unpin: true, environment, repository }, options);
  },
};
