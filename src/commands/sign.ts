/** iac-runner sign: prints the headers of a signed request, or a complete curl command. */

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { loadClientConfig } from '../config.ts';
import { UsageError } from '../errors.ts';
import { signedHeaders } from '../triggers/signature.ts';
import { parseOptions, type Subcommand } from './subcommand.ts';

export const sign: Subcommand = {
  summary: 'Print the headers, or a curl command, for a signed request.',
  help: `Usage: iac-runner sign [--curl] [--url URL] [--timestamp] [BODY | --file FILE | -]

Signs BODY (JSON, e.g. '{"all":true}') for POST /sync with SYNC_SECRET, or with WEBHOOK_SECRET where that is not set,
and prints the headers to send.
BODY "-" or none reads standard input. The secret itself is never printed.

Options:
  --curl        print a complete curl command instead
  --url URL     the server, for --curl (default IAC_RUNNER_URL, else PUBLIC_URL, else https://iac.$INTERNAL_DOMAIN,
                else localhost)
  --file FILE   read the body from a file
  --timestamp   also sign the time and a nonce, so that the request is valid once, within 300 s

Example:
  iac-runner sign --curl --timestamp '{"services":["platform/postgres"]}' | sh
`,
  async run(args) {
    const { values, positionals } = parseOptions(args, {
      allowPositionals: true,
      options: {
        curl: { type: 'boolean' },
        url: { type: 'string' },
        file: { type: 'string' },
        timestamp: { type: 'boolean' },
      },
    });
    const body = await readBody(positionals, values.file);
    if (body.trim() === '') {
      throw new UsageError(
        'There is no body to sign: give one, e.g. \'{"all":true}\', by --file, or on standard input.',
      );
    }
    const config = loadClientConfig();
    const headers = await signedHeaders(config.secret, body, values.timestamp ? newStamp() : undefined);
    const url = `${values.url ?? config.url}/sync`;
    process.stdout.write(values.curl ? curl(url, headers, body) : list(headers));
    return true;
  },
};

async function readBody(positionals: string[], file: string | undefined): Promise<string> {
  if (positionals.length > 1 || (file !== undefined && positionals.length > 0)) {
    throw new UsageError('Give one body: as an argument, by --file, or on standard input.');
  }
  if (file !== undefined) return readFileSync(file, 'utf8');
  const [body = '-'] = positionals;
  return body === '-' ? await text(process.stdin) : body;
}

/** The time now and a nonce that no one has used. */
export function newStamp(): { timestamp: string; nonce: string } {
  return { timestamp: String(Math.floor(Date.now() / 1_000)), nonce: randomBytes(16).toString('hex') };
}

function list(headers: Record<string, string>): string {
  return Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\n`)
    .join('');
}

function curl(url: string, headers: Record<string, string>, body: string): string {
  const options = Object.entries(headers).map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`);
  return [
    'curl -sS --fail-with-body -X POST',
    ...options,
    // The option is not --data-binary, which takes a body that begins with @ for the name of a file.
    `--data-raw ${quoted(body)}`,
    `${quoted(url)}\n`,
  ].join(' ');
}

/** One word for a POSIX shell. */
function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
