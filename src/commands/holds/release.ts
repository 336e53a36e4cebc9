/** iac-runner release: ends holds, so that what waited goes on. */

import { UsageError } from '../../errors.ts';
import { callerOf, printable } from '../client/ask-as-caller.ts';
import { parseOptions, type Subcommand, tokenHelp, URL_HELP } from '../subcommand.ts';
import { holdsSchema } from './held-line.ts';

export const release: Subcommand = {
  summary: 'Release a hold, or all holds.',
  help: `Usage: iac-runner release (ID | --all) [--json] [--url URL]

Ends a hold, by the id that iac-runner hold printed and iac-runner hold --list prints. What waited goes on by itself.
${tokenHelp('an operator')}

Options:
  --all             release every hold
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
    const ids =
      id === undefined ? holdsSchema.parse(await ask('GET', '/holds')).holds.map((found) => found.id) : [id];
    for (const one of ids) await ask('DELETE', `/holds/${encodeURIComponent(one)}`);
    const lines = values.json
      ? [JSON.stringify({ released: ids })]
      : ids.map((one) => printable(`Released ${one}`));
    for (const line of lines) process.stdout.write(`${line}\n`);
    return true;
  },
};
