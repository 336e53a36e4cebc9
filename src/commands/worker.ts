/** iac-runner worker: works on runs of a shared store or on jobs of Redis, until it gets a signal to stop. */

import { loadConfig, loadWorkerConfig } from '../config.ts';
import { UsageError } from '../errors.ts';
import { startJobWorker } from '../wiring/jobs.ts';
import { live } from '../wiring/live.ts';
import { startRunWorker } from '../wiring/work.ts';
import { openLog, restrictFiles } from './long-lived.ts';
import { parseOptions, type Subcommand } from './subcommand.ts';

export const worker: Subcommand = {
  summary: 'Take work without a server: runs of a shared store, or jobs of Redis.',
  help: `Usage: iac-runner worker [--labels aws,linux] [--concurrency 4]

With STORE_URL set: works on the runs that servers with the same STORE_URL accept. Needs the rest of their
configuration, too, and a DATA_DIR and a WORKSPACE_DIR of its own; see docs/postgres.md.

  --labels LABELS   takes deployments whose labels are all among these; default WORKER_LABELS, or any
  --concurrency N   runs worked on at once

With REDIS_URL set: takes jobs from jobs:stream. Each is a prompt: AGENT_COMMAND works on it in a clone of the user's
repository, and its changes are pushed as the branch repobox/<first 8 characters of the job's id>. Needs
ENCRYPTION_KEY. Any number of workers may run, on any number of machines; see docs/jobs.md.
Configured by the environment only; docs/configuration.md lists every variable.

SIGTERM or SIGINT: takes no new work, lets running jobs end within DRAIN_TIMEOUT, hands the rest back, exits 0.
A second signal ends at once what still runs.

Example:
  iac-runner worker --concurrency 2
`,
  async run(args) {
    const { values } = parseOptions(args, {
      options: { labels: { type: 'string' }, concurrency: { type: 'string' } },
    });
    const options = readOptions(values);
    const { jobs, hasStore, logLevel } = loadWorkerConfig();
    const config = hasStore ? loadConfig() : null;
    restrictFiles();
    const log = openLog(logLevel);
    return live(log, async (life) => {
      const hurries: (() => void)[] = [];
      if (config) hurries.push(await startRunWorker(config, options, log, life));
      if (jobs) hurries.push(await startJobWorker(jobs, log, life));
      return () => {
        for (const hurry of hurries) hurry();
      };
    });
  },
};

function readOptions({ labels, concurrency }: { labels?: string; concurrency?: string }) {
  const names = labels?.split(',').map((label) => label.trim());
  if (names?.some((label) => !/^[\w.-]{1,64}$/.test(label))) {
    throw new UsageError('--labels takes letters, digits, dots, dashes and underscores, comma-separated.');
  }
  if (concurrency !== undefined && !/^[1-9]\d{0,3}$/.test(concurrency)) {
    throw new UsageError('--concurrency takes a whole number from 1 to 9999.');
  }
  return { labels: names ?? null, concurrency: concurrency === undefined ? null : Number(concurrency) };
}
