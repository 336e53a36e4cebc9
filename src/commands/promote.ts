/** iac-runner promote: takes a commit from the environment that holds it to the next one. */

import { z } from 'zod';
import { loadApiClientConfig } from '../config.ts';
import { UsageError } from '../errors.ts';
import { callerOf } from './client/ask-as-caller.ts';
import { followRun } from './client/follow-run.ts';
import { withLikelyName } from './client/likely-name.ts';
import { parseOptions, type Subcommand, tokenHelp, URL_HELP } from './subcommand.ts';

const answerSchema = z.object({
  status: z.enum(['accepted', 'awaiting_approval']),
  run_id: z.string(),
  url: z.string(),
  revision: z.string(),
  services: z.array(z.string()),
});

export const promote: Subcommand = {
  summary: 'Promote to an environment what another one holds.',
  help: `Usage: iac-runner promote ENVIRONMENT [--revision SHA] [--service ID]... [--reason TEXT] [--break-glass]
                                [--repository NAME] [--follow] [--json] [--url URL]

Takes the newest commit that the other environment holds completely, or the one that --revision names, to ENVIRONMENT.
It may have to be approved first. ${tokenHelp('an operator')}

Options:
  --revision SHA      the commit, 40 hexadecimal digits
  --service ID        only this service; may be repeated
  --reason TEXT       why, shown on the run
  --break-glass       promote what the other environment does not hold, without an approval; needs the token of an admin
                      and a --reason, and everybody sees it
  --repository NAME   the repository, where the server has several
  --follow            show the run while it waits and runs, and exit with 0 only when it succeeded
  --json              as JSON
${URL_HELP}
Example:
  iac-runner promote production --reason 'Release 42' --follow
`,
  async run(args) {
    const { values, positionals } = parseOptions(args, {
      allowPositionals: true,
      options: {
        revision: { type: 'string' },
        service: { type: 'string', multiple: true },
        reason: { type: 'string' },
        'break-glass': { type: 'boolean' },
        repository: { type: 'string' },
        follow: { type: 'boolean' },
        json: { type: 'boolean' },
        url: { type: 'string' },
      },
    });
    const [environment, ...others] = positionals;
    if (environment === undefined || others.length > 0) throw new UsageError('Name one environment.');
    const { service: services, 'break-glass': breakGlass, follow, json, url, ...asked } = values;
    const ask = callerOf(url);
    const body = {
      environment,
      ...asked,
      ...(services && { services }),
      ...(breakGlass && { break_glass: true }),
    };
    const said = await withLikelyName(ask, { environment, services }, () => ask('POST', '/promote', body));
    const answer = answerSchema.parse(said);
    process.stdout.write(json ? `${JSON.stringify(said)}\n` : described(answer));
    return follow ? followRun(url ?? loadApiClientConfig().url, answer.url, { json }) : true;
  },
};

function described({ status, run_id: id, url, revision, services }: z.output<typeof answerSchema>): string {
  const what = services.join(', ') || 'no services';
  const waits = status === 'awaiting_approval' ? '\nIt waits for an approval.' : '';
  return `Run ${id}: ${what} at ${revision}${waits}\n${url}\n`;
}
