/** iac-runner deliveries: lists the deliveries of GitHub and the decisions about them, or replays one. */

import { z } from 'zod';
import { loadApiClientConfig } from '../config.ts';
import { UsageError } from '../errors.ts';
import { DELIVERY_DECISIONS } from '../runs/delivery.ts';
import { askServer } from './client/ask-server.ts';
import { parseOptions, type Subcommand } from './subcommand.ts';

const DEFAULT_LIMIT = 20;

export const deliveries: Subcommand = {
  summary: 'List deliveries and their decisions, or replay one.',
  help: `Usage: iac-runner deliveries [--decision DECISION] [--limit N] [--json] [--url URL]
       iac-runner deliveries --replay NUMBER [--json] [--url URL]

Lists the requests to /webhook, newest first: number, time, decision, event, detail, run.
Reads an API token (see API_TOKENS) from IAC_RUNNER_TOKEN: listing needs a viewer's, replaying an operator's.

Options:
  --decision DECISION   only ${DELIVERY_DECISIONS.join(', ')}
  --limit N             at most N (default ${DEFAULT_LIMIT})
  --replay NUMBER       run the request of this delivery again; it never takes a service back to an older commit
  --json                as JSON
  --url URL             the server (default IAC_RUNNER_URL, else PUBLIC_URL, else https://iac.$INTERNAL_DOMAIN,
                        else localhost)

Example:
  iac-runner deliveries --decision refused
`,
  async run(args) {
    const { values } = parseOptions(args, {
      options: {
        decision: { type: 'string' },
        limit: { type: 'string' },
        replay: { type: 'string' },
        json: { type: 'boolean', default: false },
        url: { type: 'string' },
      },
    });
    const { decision, replay, json } = values;
    if (decision !== undefined && !DELIVERY_DECISIONS.some((known) => known === decision)) {
      throw new UsageError(`--decision takes one of ${DELIVERY_DECISIONS.join(', ')}.`);
    }
    const limit = values.limit === undefined ? DEFAULT_LIMIT : wholeNumber('--limit', values.limit);
    const number = replay === undefined ? null : wholeNumber('--replay', replay);
    const config = loadApiClientConfig();
    const server = { url: values.url ?? config.url, token: config.token };
    if (number !== null) return replayOne(server, number, json);
    const found = await list(server, decision ?? null, limit);
    const lines = json ? [JSON.stringify({ deliveries: found })] : found.map(line);
    for (const text of lines) process.stdout.write(`${text}\n`);
    return true;
  },
};

interface Server {
  url: string;
  token: string;
}

const runSchema = z.object({ run_id: z.string(), url: z.string() });
const listSchema = z.object({
  deliveries: z.array(
    z.looseObject({
      number: z.number(),
      received_at: z.string(),
      event: z.string(),
      decision: z.string(),
      detail: z.string(),
      run_id: z.string().nullable(),
    }),
  ),
  // Only a path of the same server, so that the token is sent nowhere else.
  next: z.string().startsWith('/deliveries').nullable(),
});
type Listed = z.output<typeof listSchema>['deliveries'][number];

async function replayOne({ url, token }: Server, number: number, json: boolean): Promise<boolean> {
  const path = `/deliveries/${number}/replay`;
  const said = await askServer(url, path, { method: 'POST', headers: headersFor(token) });
  const run = runSchema.parse(said);
  process.stdout.write(json ? `${JSON.stringify(said)}\n` : `Run ${run.run_id}\n${run.url}\n`);
  return true;
}

async function list({ url, token }: Server, decision: string | null, limit: number): Promise<Listed[]> {
  const found: Listed[] = [];
  let path: string | null = decision === null ? '/deliveries' : `/deliveries?decision=${decision}`;
  while (path !== null && found.length < limit) {
    const said = await askServer(url, path, { headers: headersFor(token) });
    const { deliveries, next } = listSchema.parse(said);
    found.push(...deliveries);
    path = next;
  }
  return found.slice(0, limit);
}

function line({ number, received_at: at, decision, event, detail, run_id: run }: Listed): string {
  const cells = [String(number).padStart(6), at, decision.padEnd(10), event.padEnd(12), detail, run ?? ''];
  // Texts of strangers must not control the terminal.
  return cells.join('  ').replace(/\p{C}/gu, '').trimEnd();
}

function headersFor(token: string): Record<string, string> {
  return { Accept: 'application/json', Authorization: `Bearer ${token}` };
}

function wholeNumber(option: string, value: string): number {
  if (!/^[1-9]\d{0,8}$/.test(value)) throw new UsageError(`${option} takes a whole number above 0.`);
  return Number(value);
}
