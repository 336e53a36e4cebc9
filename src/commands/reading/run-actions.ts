/** iac-runner retry, cancel, approve and reject: what people do with a run. */

import { z } from 'zod';
import { loadApiClientConfig } from '../../config.ts';
import { UsageError } from '../../errors.ts';
import { callerOf, printable } from '../client/ask-as-caller.ts';
import { followRun } from '../client/follow-run.ts';
import { parseOptions, type Subcommand, tokenHelp, URL_HELP } from '../subcommand.ts';
import { findRun } from './find-run.ts';
import { say } from './shown.ts';

const answerSchema = z.looseObject({ run_id: z.string(), url: z.string() });

interface Action {
  name: 'retry' | 'cancel' | 'approve' | 'reject';
  summary: string;
  explanation: string;
  role: string;
  done: string;
}

function actionOnRun({ name, summary, explanation, role, done }: Action): Subcommand {
  return {
    summary,
    help: `Usage: iac-runner ${name} RUN [--follow] [--json] [--url URL]

${explanation} RUN is the id of a run, or a part of it that only one of the newest runs has.
${tokenHelp(role)}

Options:
  --follow          show the run while it runs, and exit with 0 only when it succeeded
  --json            as JSON
${URL_HELP}
Example:
  iac-runner ${name} 01a23045
`,
    async run(args) {
      const { values, positionals } = parseOptions(args, {
        allowPositionals: true,
        options: { follow: { type: 'boolean' }, json: { type: 'boolean' }, url: { type: 'string' } },
      });
      const [named, ...others] = positionals;
      if (named === undefined || others.length > 0) throw new UsageError('Name one run.');
      const ask = callerOf(values.url);
      const id = await findRun(ask, named);
      const said = await ask('POST', `/runs/${encodeURIComponent(id)}/${name}`);
      const { run_id: runId, url } = answerSchema.parse(said);
      say(values.json ? JSON.stringify(said) : `${done} ${printable(runId)}\n${printable(url)}`);
      if (!values.follow) return true;
      const { token, url: configured } = loadApiClientConfig();
      return followRun(values.url ?? configured, url, { token, json: values.json });
    },
  };
}

export const retry = actionOnRun({
  name: 'retry',
  summary: 'Run again what did not succeed in a run.',
  explanation: 'Makes a new run of the steps that did not succeed, at the same commit.',
  role: 'an operator',
  done: 'The retry is run',
});

export const cancel = actionOnRun({
  name: 'cancel',
  summary: 'Cancel a run that waits or runs.',
  explanation: 'Cancels a run that waits, or ends the tasks of one that runs.',
  role: 'an operator',
  done: 'Cancelled run',
});

export const approve = actionOnRun({
  name: 'approve',
  summary: 'Approve what a run waits to do.',
  explanation: 'Approves exactly what the run has shown. The first decision counts.',
  role: 'somebody who may approve',
  done: 'Approved run',
});

export const reject = actionOnRun({
  name: 'reject',
  summary: 'Reject what a run waits to do.',
  explanation: 'Rejects what the run waits to do, which ends it. The first decision counts.',
  role: 'somebody who may approve',
  done: 'Rejected run',
});
