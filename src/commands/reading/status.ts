/** iac-runner status: what each environment has, and what needs somebody. */

import { z } from 'zod';
import { nearestOf } from '../../nearest-name.ts';
import { type AskAsCaller, callerOf, printable } from '../client/ask-as-caller.ts';
import { parseOptions, type Subcommand, tokenHelp, URL_HELP } from '../subcommand.ts';
import { coloured, say, serviceSchema, table } from './shown.ts';

const environmentSchema = z.looseObject({
  name: z.string(),
  repository: z.string(),
  follows: z.string(),
  head: z.string().nullable(),
  problem: z.string().nullable(),
  remarks: z.array(z.string()),
  holds: z.array(z.object({ reason: z.string(), by: z.string() })),
  running: z.looseObject({ run_id: z.string(), message: z.string() }).nullable(),
  services: z.array(serviceSchema),
});
const listSchema = z.object({
  environments: z.array(z.looseObject({ name: z.string(), repository: z.string() })),
});

export const status: Subcommand = {
  summary: 'Show what each environment has, and what needs somebody.',
  help: `Usage: iac-runner status [--environment NAME] [--repository NAME] [--json] [--url URL]

Says for each environment how many services are at its head, and names those that are not, with the reason.
${tokenHelp('a viewer')}

Options:
  --environment NAME  only this environment, with every service
  --repository NAME   only this repository
  --json              as JSON
${URL_HELP}
Example:
  iac-runner status --environment production
`,
  async run(args) {
    const { values } = parseOptions(args, {
      options: {
        environment: { type: 'string' },
        repository: { type: 'string' },
        json: { type: 'boolean' },
        url: { type: 'string' },
      },
    });
    const ask = callerOf(values.url);
    const wanted = await named(ask, values);
    const found = await Promise.all(wanted.map((one) => ask('GET', addressOf(one))));
    if (values.json) {
      say(JSON.stringify(values.environment === undefined ? { environments: found } : found[0]));
      return true;
    }
    for (const one of found) show(environmentSchema.parse(one), values.environment !== undefined);
    return true;
  },
};

interface Named {
  name: string;
  repository: string;
}

function addressOf({ name, repository }: Named): string {
  return `/environments/${encodeURIComponent(name)}?${new URLSearchParams({ repository })}`;
}

async function named(
  ask: AskAsCaller,
  wanted: { environment?: string | undefined; repository?: string | undefined },
) {
  const { environments } = listSchema.parse(await ask('GET', '/environments'));
  const inRepository = environments.filter(
    ({ repository }) => wanted.repository === undefined || repository === wanted.repository,
  );
  const { environment } = wanted;
  if (environment === undefined) return inRepository;
  const found = inRepository.filter(({ name }) => name === environment);
  if (found.length > 0) return found;
  throw nearestOf(
    'environment',
    environment,
    inRepository.map(({ name }) => name),
  );
}

function show(environment: z.output<typeof environmentSchema>, isWhole: boolean): void {
  const { name, repository, follows, head, problem, remarks, holds, running, services } = environment;
  const current = services.filter(({ state }) => state === 'up_to_date').length;
  const at = head === null ? 'not fetched yet' : `${follows} (${head.slice(0, 8)})`;
  const lines = [
    `${name} of ${repository}: ${current} of ${services.length} at ${at}`,
    ...(problem === null ? [] : [`  problem: ${problem}`]),
    ...remarks.map((remark) => `  ${remark}`),
    ...holds.map(({ by, reason }) => `  held by ${by}: ${reason}`),
    ...(running === null ? [] : [`  running: ${running.run_id} ${running.message}`]),
  ];
  const shown = isWhole ? services : services.filter(({ state }) => state !== 'up_to_date');
  const rows = shown.map(({ id, state, commit, behind_by: behind, message }) => [
    coloured(state),
    printable(id),
    commit?.slice(0, 8) ?? 'never',
    behind === null || behind === 0 ? '' : `${behind} behind`,
    printable(message),
  ]);
  for (const line of lines) say(printable(line));
  for (const row of table(rows)) say(`  ${row}`);
}
