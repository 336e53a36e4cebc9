/** iac-runner unpin: give services that were rolled back to pushes again. */

import { UsageError } from '../errors.ts';
import { requestSync } from './client/request-sync.ts';
import { type Command, parseOptions } from './command.ts';

export const unpinCommand: Command = {
  summary: 'Give rolled back services to pushes again.',
  help: `Usage: iac-runner unpin SERVICE... [--follow] [--url URL]

Ends what iac-runner rollback began: the services are synced as of the branch head, and pushes reach them again.
Signed with SYNC_SECRET, or with WEBHOOK_SECRET where that is not set.

Options:
  --follow          show the run as it goes, and exit with 0 only when it succeeded
  --url URL         the server (default PUBLIC_URL, else https://iac.$INTERNAL_DOMAIN, else localhost)
`,
  async run(args) {
    const { values, positionals: services } = parseOptions(args, {
      allowPositionals: true,
      options: { follow: { type: 'boolean' }, url: { type: 'string' } },
    });
    if (services.length === 0) throw new UsageError('Name the services to unpin.');
    return requestSync({ services, unpin: true }, values);
  },
};
