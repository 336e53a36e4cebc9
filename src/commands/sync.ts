/** iac-runner sync: asks a running server to sync services, and follows the run if wanted. */

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

export const sync: Subcommand = {
  summary: 'Ask a running server to sync services.',
  help: `Usage: iac-runner sync [--url URL] [--environment NAME] [--force] [--dry-run] [--follow] [--json]
                       (--all | SERVICE...)

Asks the server for a sync, and prints the run's address. ${SENDER_HELP}
SERVICE is an id such as platform/postgres; unchanged services are skipped unless --force is given.

Options:
  --all             every service
  --force           also what is unchanged
  --dry-run         only show what would be done
  --follow          show the run while it runs, and exit with 0 only when it succeeded
  --revision SHA    sync as of this commit of the branch (a full commit id), also when that goes back
  --json            as JSON
${PLACE_HELP}${URL_HELP}
Example:
  iac-runner sync platform/postgres platform/redis --follow
`,
  async run(args) {
    const { values, positionals } = parseOptions(args, {
      allowPositionals: true,
      options: {
        all: { type: 'boolean' },
        force: { type: 'boolean' },
        'dry-run': { type: 'boolean' },
        follow: { type: 'boolean' },
        json: { type: 'boolean' },
        revision: { type: 'string' },
        ...PLACE_OPTIONS,
        url: { type: 'string' },
      },
    });
    if (values.all ? positionals.length > 0 : positionals.length === 0) {
      throw new UsageError('Name services, or give --all.');
    }
    const {
      all,
      force = false,
      'dry-run': dryRun = false,
      revision,
      environment,
      repository,
      ...options
    } = values;
    return requestSync(
      {
        ...(all ? { all } : { services: positionals }),
        force,
        dry_run: dryRun,
        ...(revision === undefined ? {} : { revision }),
        environment,
        repository,
      },
      options,
    );
  },
};
