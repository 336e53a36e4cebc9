/** iac-runner release: ends holds, so that what waited goes on. */

import { RequestError, UsageError } from '../../errors.ts';
import { type AskAsCaller, callerOf, printable } from '../client/ask-as-caller.ts';
import { parseOptions, type Subcommand, tokenHelp, URL_HELP } from '../subcommand.ts';
import { holdsSchema } from './held-line.ts';

export const release: Subcommand = {
  summary: 'Release a hold, or all holds.',
  help: `Usage: iac-runner release (ID | --all) [--json] [--url URL]

Ends a hold, by the id that iac-runner hold printed and iac-runner hold --list prints. What waited goes on by itself.
${tokenHelp('an operator')}

Options:
  --all             release every hold; a hold that somebody else releases meanwhile is no error
  --json            as JSON
${URL_HELP}
Example:
  iac-runner release --all
`,
  async run(args) {
    const { values, positionals } = parseOptions(args, {
      allowPositionals: true,
      options: { all: { type: 'boolean' }, json: { type: 'boolean' }, url: { type: 'string' } },
    });
    const [id, ...others] = positionals;
    if (others.length > 0 || (id === undefined) !== (values.all === true)) {
      throw new UsageError('Give the id of one hold, or --all.');
    }
    const ask = callerOf(values.url);
    const { released, gone } = id === undefined ? await releaseAll(ask) : await releaseOne(ask, id);
    const lines = values.json
      ? [JSON.stringify({ released, ...(id === undefined && { released_by_others: gone }) })]
      : [
          ...released.map((one) => `Released ${one}`),
          ...gone.map((one) => `Somebody else has released ${one}`),
        ];
    for (const line of lines) process.stdout.write(`${printable(line)}\n`);
    return true;
  },
};

interface Released {
  released: string[];
  /** The holds that did not stand any more. */
  gone: string[];
}

async function releaseAll(ask: AskAsCaller): Promise<Released> {
  const all: Released = { released: [], gone: [] };
  for (const { id } of holdsSchema.parse(await ask('GET', '/holds')).holds) {
    try {
      await releaseOne(ask, id);
      all.released.push(id);
    } catch (error) {
      if (!(error instanceof RequestError) || error.status !== 404) throw error;
      all.gone.push(id);
    }
  }
  return all;
}

/** Throws RequestError, with the status 404 if no such hold stands. */
async function releaseOne(ask: AskAsCaller, id: string): Promise<Released> {
  await ask('DELETE', `/holds/${encodeURIComponent(id)}`);
  return { released: [id], gone: [] };
}
