/** iac-runner serve: the server, until it is told to stop. */

import { pino } from 'pino';
import { loadConfig, loadUnknownVariables } from '../config.ts';
import { live } from '../wiring/live.ts';
import { startServices } from '../wiring/server.ts';
import { type Command, parseOptions } from './command.ts';

export const serveCommand: Command = {
  summary: 'Receive pushes and sync what they changed.',
  help: `Usage: iac-runner serve

Receives GitHub's push webhooks on /webhook and signed requests on /sync, and syncs the services that changed.
Configured by the environment only; docs/configuration.md lists every variable.

SIGTERM or SIGINT: takes no new work, lets running tasks end within DRAIN_TIMEOUT, hands the rest back, exits 0.
The same signal a second time ends at once what still runs.
`,
  async run(args) {
    parseOptions(args, { options: {} });
    const config = loadConfig();
    // Whoever else may write in the checkout decides what runs with the secrets.
    process.umask(process.umask() | 0o022);
    const log = pino(
      { level: config.logLevel, base: null, timestamp: pino.stdTimeFunctions.isoTime },
      pino.destination({ dest: 1, sync: true }),
    );
    for (const line of loadUnknownVariables()) log.warn(line);
    return live(log, (life) => startServices(config, log, life));
  },
};
