/** iac-runner rollback: takes services back to an earlier commit of the branch, and keeps them there. */

import { z } from 'zod';
import { UsageError } from '../errors.ts';
import { type AskAsCaller, callerOf } from './client/ask-as-caller.ts';
import { requestSync } from './client/request-sync.ts';
import { PLACE_HELP, PLACE_OPTIONS, parseOptions, type Subcommand, URL_HELP } from './subcommand.ts';

export const rollback: Subcommand = {
  summary: 'Take services back to an earlier commit, and keep them there.',
  help: `Usage: iac-runner rollback SERVICE... --to COMMIT [--environment NAME] [--force] [--follow] [--url URL]
       iac-runner rollback SERVICE... --to COMMIT [--environment NAME] --override-hold [--reason TEXT] [--url URL]

Syncs the services as of COMMIT, a full commit id of the branch, and pins them there: pushes, sync --all and
reconciliation leave them alone until iac-runner unpin. Signed with SYNC_SECRET, or with
WEBHOOK_SECRET where that is not set.

Options:
  --to COMMIT       where to go, 40 hexadecimal digits
  --force           do not wait for a sync window, and run also what is unchanged
  --override-hold   pass over holds; reads the API token of an admin from IAC_RUNNER_TOKEN instead of the secret
  --reason TEXT     why, shown on the run; only with --override-hold
  --follow          show the run while it runs, and exit with 0 only when it succeeded
${PLACE_HELP}${URL_HELP}`,
  async run(args) {
    const { values, positionals: services } = parseOptions(args, {
      allowPositionals: true,
      options: {
        to: { type: 'string' },
        force: { type: 'boolean' },
        follow: { type: 'boolean' },
        'override-hold': { type: 'boolean', default: false },
        reason: { type: 'string' },
        ...PLACE_OPTIONS,
        url: { type: 'string' },
      },
    });
    if (services.length === 0) throw new UsageError('Name the services to take back.');
    const {
      to: revision,
      force,
      'override-hold': overrides,
      reason,
      environment,
      repository,
      ...options
    } = values;
    const place = { environment, repository };
    if (revision === undefined) throw new UsageError('Say with --to which commit to go back to.');
    if (!/^[0-9a-f]{40}$/.test(revision)) {
      throw new UsageError('--to takes a full commit id of 40 hexadecimal digits; git rev-parse prints it.');
    }
    if (overrides) {
      if (force || options.follow)
        throw new UsageError('--override-hold goes with neither --force nor --follow.');
      return passOver(callerOf(options.url), services, {
        to: revision,
        reason,
        override_hold: true,
        ...place,
      });
    }
    if (reason !== undefined) throw new UsageError('--reason goes only with --override-hold.');
    return requestSync({ services, revision, ...place, ...(force && { force }) }, options);
  },
};

const runSchema = z.object({ run_id: z.string(), url: z.string() });

/** Asks for each service by itself, in the name of the caller, who must be an admin. */
async function passOver(ask: AskAsCaller, services: readonly string[], body: object): Promise<boolean> {
  for (const service of services) {
    const said = await ask('POST', `/services/${encodeURIComponent(service)}/rollback`, body);
    const { run_id: id, url } = runSchema.parse(said);
    process.stdout.write(`Run ${id}: ${service}\n${url}\n`);
  }
  return true;
}
