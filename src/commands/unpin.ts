/** iac-runner unpin: ends rollbacks, so that pushes reach their services again. */

import { UsageError } from '../errors.ts';
import { requestSync } from './client/request-sync.ts';
import {
  PLACE_HELP,
  PLACE_OPTIONS,
  parseOptions,
  SENDER_HELP,
  type Subcommand,
  URL_HELP,
} from './subcommand.ts';

export const unpin: Subcommand = {
  summary: 'Let pushes reach rolled back services again.',
  help: `Usage: iac-runner unpin SERVICE... [--environment NAME] [--follow] [--json] [--url URL]

Ends an iac-runner rollback: the services are synced as of the branch head, and pushes reach them again.
${SENDER_HELP}

Options:
  --follow          show the run while it runs, and exit with 0 only when it succeeded
  --json            as JSON
${PLACE_HELP}${URL_HELP}
Example:
  iac-runner unpin platform/redis
`,
  async run(args) {
    const { values, positionals: services } = parseOptions(args, {
      allowPositionals: true,
      options: {
        follow: { type: 'boolean' },
        json: { type: 'boolean' },
        ...PLACE_OPTIONS,
        url: { type: 'string' },
      },
    });
    if (services.length === 0) throw new UsageError('Name the services to unpin.');
    const { environment, repository, ...options } = values;
    return requestSync({ services, unpin: true, environment, repository }, options);
  },
};
