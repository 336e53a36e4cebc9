/** iac-runner logs: the log of a run, or of one of its steps. */

import { loadApiClientConfig } from '../../config.ts';
import { RequestError, UsageError } from '../../errors.ts';
import { callerOf } from '../client/ask-as-caller.ts';
import { followRun } from '../client/follow-run.ts';
import { parseOptions, type Subcommand, tokenHelp, URL_HELP } from '../subcommand.ts';
import { findRun } from './find-run.ts';

export const logs: Subcommand = {
  summary: 'Print the log of a run.',
  help: `Usage: iac-runner logs RUN [STEP] [--follow] [--url URL]

Prints the whole log without colours. RUN is the id of a run, or a part of it that only one of the newest runs has.
${tokenHelp('a viewer')}

Options:
  --follow          print new lines as they come, and exit with 0 only when the run succeeded
  --json            accepted, and changes nothing: a log is text
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
    const id = encodeURIComponent(await findRun(callerOf(values.url), named));
    const { token, url: configured } = loadApiClientConfig();
    const server = values.url ?? configured;
    if (values.follow) return followRun(server, `${server}/runs/${id}`, { token, step });
    await print(
      `${server}/runs/${id}/log.txt${step === undefined ? '' : `?step=${encodeURIComponent(step)}`}`,
      token,
    );
    return true;
  },
};

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
