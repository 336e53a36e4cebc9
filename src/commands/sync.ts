/** iac-runner sync: ask a running server to sync services, and follow the run if wanted. */

import { z } from 'zod';
import { loadClientConfig } from '../config.ts';
import { RequestError, UsageError } from '../errors.ts';
import { signedHeaders } from '../triggers/signature.ts';
import { type Command, parseOptions } from './command.ts';
import { followRun } from './follow-run.ts';
import { newStamp } from './sign.ts';

export const syncCommand: Command = {
  summary: 'Ask a running server to sync services.',
  help: `Usage: iac-runner sync [--url URL] [--force] [--dry-run] [--follow] (--all | SERVICE...)

Sends a request signed with WEBHOOK_SECRET to the server and prints the run's address.
SERVICE is an id such as platform/postgres; unchanged services are skipped unless --force is given.

Options:
  --all             every service
  --force           also what is unchanged
  --dry-run         only say what would be done
  --follow          show the run as it goes, and exit with 0 only when it succeeded
  --revision SHA    sync as of this commit of the branch (a full commit id), also when that goes back
  --url URL         the server (default PUBLIC_URL, else https://iac.$INTERNAL_DOMAIN, else localhost)
`,
  async run(args) {
    const { values, positionals } = parseOptions(args, {
      allowPositionals: true,
      options: {
        all: { type: 'boolean' },
        force: { type: 'boolean' },
        'dry-run': { type: 'boolean' },
        follow: { type: 'boolean' },
        revision: { type: 'string' },
        url: { type: 'string' },
      },
    });
    if (values.all ? positionals.length > 0 : positionals.length === 0) {
      throw new UsageError('Name services, or give --all.');
    }
    const config = loadClientConfig();
    const server = values.url ?? config.url;
    const body = JSON.stringify({
      ...(values.all ? { all: true } : { services: positionals }),
      force: values.force ?? false,
      dry_run: values['dry-run'] ?? false,
      revision: values.revision,
    });
    const answer = await request(server, config.secret, body);
    process.stdout.write(
      `Run ${answer.run_id}: ${answer.services.join(', ') || 'no services'}\n${answer.url}\n`,
    );
    return values.follow ? await followRun(server, answer.url) : true;
  },
};

const answerSchema = z.object({ run_id: z.string(), services: z.array(z.string()), url: z.string() });
const errorSchema = z.object({ error: z.string() });
const ANSWER_TIMEOUT_MS = 60_000;

/** Throws RequestError with what the server said, or why it could not be reached. */
async function request(server: string, secret: string, body: string): Promise<z.output<typeof answerSchema>> {
  let response: Response;
  try {
    response = await fetch(`${server}/sync`, {
      method: 'POST',
      headers: signedHeaders(secret, body, newStamp()),
      body,
      redirect: 'error',
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
  } catch (cause) {
    throw new RequestError(503, `${server} cannot be reached.`, {
      nextAction: 'Check --url or PUBLIC_URL, and that the server runs.',
      cause,
    });
  }
  const said: unknown = await response.json().catch(() => null);
  if (response.ok) return answerSchema.parse(said);
  const refusal = errorSchema.safeParse(said);
  throw new RequestError(
    400,
    `${server} answered ${response.status}${refusal.success ? `: ${refusal.data.error}` : ''}.`,
  );
}
