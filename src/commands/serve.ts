/** iac-runner serve: the server, until it gets a signal to stop. */

import { loadConfig } from '../config.ts';
import { live } from '../wiring/live.ts';
import { startProgram } from '../wiring/server.ts';
import { openLog, restrictFiles } from './long-lived.ts';
import { parseOptions, type Subcommand } from './subcommand.ts';

export const serve: Subcommand = {
  summary: 'Receive pushes and sync what they changed.',
  help: `Usage: iac-runner serve

Receives GitHub's push webhooks on /webhook and signed requests on /sync, and syncs the services that changed.
Configured by the environment only; docs/configuration.md lists every variable.

SIGTERM or SIGINT: takes no new work, lets running tasks end within DRAIN_TIMEOUT, hands the rest back, exits 0.
A second signal ends at once what still runs.

Example:
  iac-runner serve
`,
  async run(args) {
    parseOptions(args, { options: {} });
    const config = loadConfig();
    restrictFiles();
    const log = openLog(config.logLevel);
    return live(log, (life) => startProgram(config, log, life));
  },
};
