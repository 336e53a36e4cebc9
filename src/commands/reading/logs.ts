/** iac-runner logs: the log of a run, or of one of its steps. */

import { z } from 'zod';
import { loadApiClientConfig } from '../../config.ts';
import { RequestError, UsageError } from '../../errors.ts';
import { nearestOf } from '../../nearest-name.ts';
import { type AskAsCaller, callerOf } from '../client/ask-as-caller.ts';
import { followRun } from '../client/follow-run.ts';
import { parseOptions, type Subcommand, tokenHelp, URL_HELP } from '../subcommand.ts';
import { findRun } from './find-run.ts';
import { say } from './shown.ts';

const stepsSchema = z.object({ steps: z.array(z.looseObject({ id: z.string() })) });
const pageSchema = z.object({
  total: z.number(),
  lines: z.array(z.object({ number: z.number(), at: z.string(), text: z.string() })),
});
const LINES_PER_REQUEST = 5_000;

export const logs: Subcommand = {
  summary: 'Print the log of a run.',
  help: `Usage: iac-runner logs RUN [STEP] [--follow] [--json] [--url URL]

Prints the whole log without colours. RUN is the id of a run, or a part of it that only one of the newest runs has.
${tokenHelp('a viewer')}

Options:
  --follow          print new lines as they come, and exit with 0 only when the run succeeded
  --json            each line as JSON
${URL_HELP}
Example:
  iac-runner logs 01a23045 platform/redis --follow
`,
  async run(args) {
    const { values, positionals } = parseOptions(args, {
      allowPositionals: true,
      options: { follow: { type: 'boolean' }, json: { type: 'boolean' }, url: { type: 'string' } },
    });
    const [named, step, ...others] = positionals;
    if (named === undefined || others.length > 0) throw new UsageError('Name one run, and at most one step.');
    const ask = callerOf(values.url);
    const path = `/runs/${encodeURIComponent(await findRun(ask, named))}`;
    if (step !== undefined && !values.follow) await requireStep(ask, path, step);
    const { token, url: configured } = loadApiClientConfig();
    const server = values.url ?? configured;
    if (values.follow) return followRun(server, server + path, { token, step, json: values.json });
    if (values.json) await printJson(ask, path, step);
    else await print(`${server}${path}/log.txt?${new URLSearchParams({ ...(step && { step }) })}`, token);
    return true;
  },
};

async function stepsOf(ask: AskAsCaller, path: string): Promise<string[]> {
  return stepsSchema.parse(await ask('GET', path)).steps.map(({ id }) => id);
}

/** Throws UsageError with the step that was probably meant. A run that is followed may get the step later. */
async function requireStep(ask: AskAsCaller, path: string, step: string): Promise<void> {
  const steps = await stepsOf(ask, path);
  if (!steps.includes(step)) throw nearestOf('step', step, steps);
}

/** Step after step. A log may be longer than what fits into memory. */
async function printJson(ask: AskAsCaller, path: string, only: string | undefined): Promise<void> {
  for (const step of only === undefined ? await stepsOf(ask, path) : [only]) {
    let from = 1;
    let isWhole = false;
    while (!isWhole) {
      const query = new URLSearchParams({ step, from: String(from), lines: String(LINES_PER_REQUEST) });
      const { total, lines } = pageSchema.parse(await ask('GET', `${path}/log?${query}`));
      for (const line of lines) say(JSON.stringify({ event: 'log', step, ...line }));
      from += lines.length;
      isWhole = lines.length === 0 || from > total;
    }
  }
}

/** A log may be longer than what fits into memory. */
async function print(address: string, token: string): Promise<void> {
  const response = await fetch(address, { headers: { Authorization: `Bearer ${token}` }, redirect: 'error' });
  if (!response.ok || !response.body) {
    throw new RequestError(response.status === 404 ? 404 : 400, `The server answered ${response.status}.`);
  }
  for await (const chunk of response.body) {
    if (!process.stdout.write(chunk)) await new Promise((resolve) => process.stdout.once('drain', resolve));
  }
}
