/** iac-runner hold: stops syncs of everything, or of some services, and says why. */

import { UsageError } from '../../errors.ts';
import { callerOf } from '../client/ask-as-caller.ts';
import { withLikelyName } from '../client/likely-name.ts';
import { parseOptions, type Subcommand, tokenHelp, URL_HELP } from '../subcommand.ts';
import { holdLine, holdSchema, holdsSchema } from './held-line.ts';

export const hold: Subcommand = {
  summary: 'Hold what would change something, until it is released.',
  help: `Usage: iac-runner hold [SERVICE...] [--environment NAME] --reason TEXT [--until TIME] [--json] [--url URL]
       iac-runner hold --list [--json] [--url URL]

Stops syncs of the services, or of everything: they wait, and show who holds them and why. They go on by themselves, at
the newest commit, when the hold ends. ${tokenHelp('an operator')}

Options:
  --reason TEXT        why, for everybody who waits
  --until TIME         when the hold ends by itself, such as 2026-12-27T08:00:00Z (default: when it is released)
  --environment NAME   hold only this environment
  --repository NAME    hold only this repository
  --list               list the holds that stand; needs a viewer's token
  --json               as JSON
${URL_HELP}
Example:
  iac-runner hold platform/postgres --reason 'Its disk is being moved' --until 2026-12-27T08:00:00Z
`,
  async run(args) {
    const { values, positionals: services } = parseOptions(args, {
      allowPositionals: true,
      options: {
        environment: { type: 'string' },
        repository: { type: 'string' },
        reason: { type: 'string' },
        until: { type: 'string' },
        list: { type: 'boolean' },
        json: { type: 'boolean' },
        url: { type: 'string' },
      },
    });
    const { list, json = false, url, ...asked } = values;
    if (list) return listHolds(url, json);
    if (asked.reason === undefined) throw new UsageError('Say with --reason why.');
    const ask = callerOf(url);
    const body = { ...asked, ...(services.length > 0 && { services }) };
    const named = { services, environment: asked.environment };
    const said = await withLikelyName(ask, named, () => ask('POST', '/holds', body));
    process.stdout.write(json ? `${JSON.stringify(said)}\n` : `${holdLine(holdSchema.parse(said))}\n`);
    return true;
  },
};

async function listHolds(url: string | undefined, json: boolean): Promise<boolean> {
  const said = await callerOf(url)('GET', '/holds');
  const lines = json ? [JSON.stringify(said)] : holdsSchema.parse(said).holds.map(holdLine);
  for (const line of lines) process.stdout.write(`${line}\n`);
  return true;
}
