/** iac-runner exec: runs one command for another program, by JSON on standard input and output. */

import { loadPlumbing } from '../config.ts';
import { describeError, MustEndError } from '../errors.ts';
import { type Finished, performRequest, refusal } from '../executor/perform-request.ts';
import type { ExecMessage } from '../executor/protocol.ts';
import { readRequest } from '../executor/read-request.ts';
import { parseOptions, type Subcommand } from './subcommand.ts';

export const exec: Subcommand = {
  summary: 'Run one command for another program, by JSON on standard input and output.',
  help: `Usage: iac-runner exec [--stream]

Reads one JSON object from standard input, runs its command, and writes one JSON object to standard output:

  {"tool":"terraform","work_dir":"/srv/stack","command":"plan","args":["-input=false"],"env_vars":{},"timeout":30}
  {"success":true,"output":"…","exit_code":0,"error_msg":"","started_at":"…","ended_at":"…"}

tool is terraform or tofu, timeout is in minutes (default 30). Anything else goes to standard error. Exits with 0 when
a response was written, also when it reports a failure. It needs no configuration; see docs/executor.md.

Options:
  --stream   write messages while the command runs, one JSON object a line: started, log, finished

SIGTERM, SIGINT or SIGHUP: ends the command with everything that it started, then answers.

Example:
  iac-runner exec < request.json
`,
  async run(args) {
    const { values } = parseOptions(args, { options: { stream: { type: 'boolean', default: false } } });
    const { stream } = values;
    const cancel = new AbortController();
    for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
      process.on(name, () => cancel.abort(`the executor got ${name}`));
    }
    const write = openOutput();
    const parsed = await readRequest(process.stdin, {
      stream,
      signal: cancel.signal,
      onEnd: (why, withinMs) => cancel.abort(withinMs === null ? why : new MustEndError(why, withinMs)),
    });
    try {
      const finished = parsed.ok
        ? await performRequest(parsed.request, {
            environment: toolEnvironment(),
            signal: cancel.signal,
            send: stream ? write : () => undefined,
          })
        : refusal(parsed.problem);
      await write(stream ? finished : responseOf(finished));
      return true;
    } catch (error) {
      process.stderr.write(`iac-runner exec: ${describeError(error)}\n`);
      return false;
    }
  },
};

/** Writes one line of JSON and resolves when it is written, so that a slow reader fills no memory here. */
function openOutput(): (message: ExecMessage | Omit<Finished, 'type' | 'end'>) => Promise<void> {
  // Other subcommands exit when nobody reads their output; this one would leave the command behind.
  process.stdout.removeAllListeners('error');
  for (const output of [process.stdout, process.stderr]) output.on('error', () => undefined);
  return (message) =>
    new Promise((resolve, reject) => {
      process.stdout.write(`${JSON.stringify(message)}\n`, (error) => (error ? reject(error) : resolve()));
    });
}

function responseOf({ type: _type, end: _end, ...response }: Finished): Omit<Finished, 'type' | 'end'> {
  return response;
}

/** The environment of this process that children get, without the agent that holds keys for git. */
function toolEnvironment(): Readonly<Record<string, string>> {
  const { SSH_AUTH_SOCK: _agent, ...environment } = loadPlumbing();
  return environment;
}
