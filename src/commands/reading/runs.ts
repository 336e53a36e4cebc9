/** iac-runner runs: the newest runs, one line each. */

import { z } from 'zod';
import { UsageError } from '../../errors.ts';
import { callerOf, printable } from '../client/ask-as-caller.ts';
import { parseOptions, type Subcommand, tokenHelp, URL_HELP } from '../subcommand.ts';
import { coloured, runSchema, say, table } from './shown.ts';

const runsSchema = z.object({ runs: z.array(runSchema) });

export const runs: Subcommand = {
  summary: 'List the newest runs.',
  help: `Usage: iac-runner runs [--state STATE] [--kind KIND] [--json] [--url URL]

Lists the newest runs, the newest first: state, id, commit, subject and message.
${tokenHelp('a viewer')}

Options:
  --state STATE     only runs in this state, such as failed or awaiting_approval
  --kind KIND       only runs of this kind, such as sync or deploy
  --json            as JSON
${URL_HELP}
Example:
  iac-runner runs --state failed
`,
  async run(args) {
    const { values, positionals } = parseOptions(args, {
      allowPositionals: true,
      options: {
        state: { type: 'string' },
        kind: { type: 'string' },
        json: { type: 'boolean' },
        url: { type: 'string' },
      },
    });
    if (positionals.length > 0) throw new UsageError('It takes options only.');
    const { state, kind } = values;
    const query = new URLSearchParams({ ...(state && { state }), ...(kind && { kind }) });
    const said = await callerOf(values.url)('GET', `/runs?${query}`);
    if (values.json) {
      say(JSON.stringify(said));
      return true;
    }
    const rows = runsSchema
      .parse(said)
      .runs.map((run) => [
        coloured(run.state),
        run.run_id,
        run.revision?.slice(0, 8) ?? '',
        printable(run.subject ?? ''),
        printable(run.message),
      ]);
    for (const row of table(rows)) say(row);
    return true;
  },
};
