/** iac-runner why: where a service stands, why, and what happened to it last. */

import { z } from 'zod';
import { RequestError, UsageError } from '../../errors.ts';
import { nearestOf } from '../../nearest-name.ts';
import { type AskAsCaller, callerOf, printable } from '../client/ask-as-caller.ts';
import {
  PLACE_HELP,
  PLACE_OPTIONS,
  parseOptions,
  type Subcommand,
  tokenHelp,
  URL_HELP,
} from '../subcommand.ts';
import { coloured, say, serviceSchema, table } from './shown.ts';

const whySchema = serviceSchema.extend({
  environment: z.string(),
  needs: z.array(z.string()),
  needed_by: z.array(z.string()),
  history: z.array(
    z.looseObject({
      run_id: z.string(),
      commit: z.string().nullable(),
      subject: z.string().nullable(),
      outcome: z.string(),
      actor: z.string().nullable(),
      started_at: z.string().nullable(),
    }),
  ),
});
const servicesSchema = z.object({ services: z.array(z.looseObject({ service: z.string() })) });

export const why: Subcommand = {
  summary: 'Show where a service stands, and why.',
  help: `Usage: iac-runner why SERVICE [--environment NAME] [--repository NAME] [--json] [--url URL]

Says whether the service is at the head of its environment, why not, what it needs, and its last outcomes.
${tokenHelp('a viewer')}

Options:
${PLACE_HELP}  --json              as JSON
${URL_HELP}
Example:
  iac-runner why platform/redis
`,
  async run(args) {
    const { values, positionals } = parseOptions(args, {
      allowPositionals: true,
      options: { ...PLACE_OPTIONS, json: { type: 'boolean' }, url: { type: 'string' } },
    });
    const [service, ...others] = positionals;
    if (service === undefined || others.length > 0) throw new UsageError('Name one service.');
    const { environment, repository } = values;
    const query = new URLSearchParams({
      ...(environment && { environment }),
      ...(repository && { repository }),
    });
    const ask = callerOf(values.url);
    const found = await look(ask, service, `/services/${encodeURIComponent(service)}?${query}`);
    if (values.json) say(JSON.stringify(found));
    else show(whySchema.parse(found));
    return true;
  },
};

async function look(ask: AskAsCaller, service: string, address: string): Promise<unknown> {
  try {
    return await ask('GET', address);
  } catch (error) {
    if (!(error instanceof RequestError) || error.status !== 404) throw error;
    const { services } = servicesSchema.parse(await ask('GET', '/services'));
    throw nearestOf(
      'service',
      service,
      services.map((one) => one.service),
    );
  }
}

function show(found: z.output<typeof whySchema>): void {
  const {
    id,
    state,
    environment,
    commit,
    behind_by: behind,
    message,
    needs,
    needed_by: neededBy,
    history,
  } = found;
  say(`${printable(id)} in ${printable(environment)}: ${coloured(state)}`);
  say(`  ${printable(message)}`);
  if (commit !== null)
    say(`  synced at ${commit.slice(0, 8)}${behind ? `, ${behind} commits behind the head` : ''}`);
  if (needs.length > 0) say(`  needs ${printable(needs.join(', '))}`);
  if (neededBy.length > 0) say(`  needed by ${printable(neededBy.join(', '))}`);
  const rows = history.map((past) => [
    coloured(past.outcome),
    past.commit?.slice(0, 8) ?? '',
    printable(past.subject ?? ''),
    printable(past.actor ?? ''),
    past.started_at ?? '',
    past.run_id,
  ]);
  for (const row of table(rows)) say(`  ${row}`);
}
