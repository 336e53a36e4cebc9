/** iac-runner rollback: takes services back to an earlier commit of the branch, and keeps them there. */

import { z } from 'zod';
import { loadApiClientConfig, loadSenderConfig } from '../config.ts';
import { UsageError } from '../errors.ts';
import { callerOf, printable } from './client/ask-as-caller.ts';
import { followRun } from './client/follow-run.ts';
import { withLikelyName } from './client/likely-name.ts';
import { requestSync, type SendOptions } from './client/request-sync.ts';
import {
  PLACE_HELP,
  PLACE_OPTIONS,
  parseOptions,
  SENDER_HELP,
  type Subcommand,
  URL_HELP,
} from './subcommand.ts';

export const rollback: Subcommand = {
  summary: 'Take services back to an earlier commit, and keep them there.',
  help: `Usage: iac-runner rollback SERVICE... --to COMMIT [--environment NAME] [--reason TEXT] [--force]
                           [--override-hold] [--follow] [--json] [--url URL]

Syncs the services as of COMMIT, a commit of the branch, and pins them there: pushes, sync --all and reconciliation
leave them alone until iac-runner unpin. ${SENDER_HELP}

Options:
  --to COMMIT       where to go: a commit id, or with a token its first 7 digits or more if only one commit has them
  --force           do not wait for a sync window, and run also what is unchanged
  --override-hold   pass over holds; needs the token of an admin
  --reason TEXT     why, shown on the run; needs a token
  --follow          show the run while it runs, and exit with 0 only when it succeeded
  --json            as JSON, one line for each run
${PLACE_HELP}${URL_HELP}
Example:
  iac-runner rollback platform/redis --to 1f2e3d4c --reason 'It leaks' --follow
`,
  async run(args) {
    const { values, positionals: services } = parseOptions(args, {
      allowPositionals: true,
      options: {
        to: { type: 'string' },
        force: { type: 'boolean' },
        follow: { type: 'boolean' },
        json: { type: 'boolean' },
        'override-hold': { type: 'boolean', default: false },
        reason: { type: 'string' },
        ...PLACE_OPTIONS,
        url: { type: 'string' },
      },
    });
    if (services.length === 0) throw new UsageError('Name the services to take back.');
    const { to, force, 'override-hold': overrides, reason, environment, repository, ...options } = values;
    const place = { environment, repository };
    if (to === undefined) throw new UsageError('Say with --to which commit to go back to.');
    if (!/^[0-9a-f]{7,40}$/.test(to)) {
      throw new UsageError(
        '--to takes a commit id of 40 hexadecimal digits, or its first 7 or more; git log prints it.',
      );
    }
    const needsToken = overrides || reason !== undefined;
    if (needsToken || 'token' in loadSenderConfig()) {
      const body = {
        to,
        reason,
        ...place,
        ...(force && { force }),
        ...(overrides && { override_hold: true }),
      };
      return takeBack(services, body, options);
    }
    if (to.length < 40) {
      throw new UsageError('--to takes all 40 digits of a commit id unless IAC_RUNNER_TOKEN is set.');
    }
    return requestSync({ services, revision: to, ...place, ...(force && { force }) }, options);
  },
};

const runSchema = z.object({ run_id: z.string(), url: z.string() });

/** Asks for each service by itself, in the name of the caller. Resolves to false if a run was followed and failed. */
async function takeBack(
  services: readonly string[],
  body: { environment: string | undefined },
  options: SendOptions,
): Promise<boolean> {
  const ask = callerOf(options.url);
  const runs: string[] = [];
  for (const service of services) {
    const address = `/services/${encodeURIComponent(service)}/rollback`;
    const named = { services: [service], environment: body.environment };
    const said = await withLikelyName(ask, named, () => ask('POST', address, body));
    const { run_id: id, url } = runSchema.parse(said);
    const text = `Run ${printable(id)}: ${service}\n${printable(url)}`;
    process.stdout.write(`${options.json ? JSON.stringify(said) : text}\n`);
    runs.push(url);
  }
  if (!options.follow) return true;
  const { token, url: configured } = loadApiClientConfig();
  let isDone = true;
  for (const url of runs) {
    const isOneDone = await followRun(options.url ?? configured, url, { token, json: options.json });
    isDone = isDone && isOneDone;
  }
  return isDone;
}
