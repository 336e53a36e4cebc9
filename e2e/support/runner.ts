/** Starts the real program as a child process, and ends it by SIGTERM or SIGKILL. */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { CLI } from './program.ts';
import { PROJECT_ROOT } from './project-root.ts';
import { createRunnerClient, type RunnerClient } from './runner-client.ts';
import { type RunnerOptions, runnerEnvironment } from './runner-environment.ts';
import { PATIENCE_MS, until } from './until.ts';

const PROGRAM = [process.execPath, CLI] as const;
/** A drain takes less time. */
const STOP_LIMIT_MS = PATIENCE_MS;

interface RunnerExit {
  exitCode: number | null;
  signal: string | null;
}

export interface Runner extends RunnerClient {
  /** `http://127.0.0.1:<port>` */
  url: string;
  pid: number;
  /** Its JSON log lines so far. */
  logs(): Record<string, unknown>[];
  /** Its complete output on stdout and stderr. */
  output(): string;
  exited: Promise<RunnerExit>;
  signal(name: NodeJS.Signals): void;
  /** Sends SIGTERM and returns the exit code. After two minutes it kills the server and throws. */
  stop(): Promise<number | null>;
  /** Sends SIGKILL to the server alone. The processes that it started live on. */
  kill(): Promise<void>;
}

export interface StartOptions extends RunnerOptions {
  /** The program that runs in place of `node dist/cli.js serve`. */
  program?: readonly string[];
}

/** Starts `serve` and waits until it listens and `/health` answers 200. Throws with its output otherwise. */
export async function startRunner(options: StartOptions): Promise<Runner> {
  const server = await launch([...(options.program ?? [...PROGRAM, 'serve'])], options);
  try {
    const url = await until('the line "listening"', () => listeningUrl(server));
    const runner = { ...server, url, ...createRunnerClient(() => url) };
    await until('/health to answer 200', async () =>
      (await runner.getJson('/health', null)).status === 200 ? true : null,
    );
    return runner;
  } catch (error) {
    await server.kill();
    throw new Error(`The server did not become ready. Its output:\n${server.output()}`, { cause: error });
  }
}

/** Runs another subcommand, or a `serve` that must refuse to start, until it ends (two minutes at most). */
export async function runProgram(
  args: readonly string[],
  options: RunnerOptions,
  /** Standard input. Default: nothing. */
  input?: string,
  /** Called with each part of standard output. */
  onOutput: (part: Buffer) => void = () => undefined,
): Promise<{ exitCode: number | null; stdout: string; stderr: string }> {
  await makeFolders(options.folder);
  const [program, ...first] = PROGRAM;
  const running = execa(program, [...first, ...args], {
    cwd: PROJECT_ROOT,
    env: runnerEnvironment(options),
    extendEnv: false,
    reject: false,
    ...(input === undefined ? { stdin: 'ignore' } : { input }),
    timeout: PATIENCE_MS,
  });
  running.stdout.on('data', onOutput);
  const result = await running;
  return { exitCode: result.exitCode ?? null, stdout: result.stdout, stderr: result.stderr };
}

type Server = Omit<Runner, keyof RunnerClient | 'url'>;

async function launch(argv: string[], options: StartOptions): Promise<Server> {
  await makeFolders(options.folder);
  const [program = '', ...args] = argv;
  const child = execa(program, args, {
    cwd: PROJECT_ROOT,
    env: runnerEnvironment(options),
    extendEnv: false,
    buffer: false,
    reject: false,
    stdin: 'ignore',
  });
  const lines: string[] = [];
  const readers = (['stdout', 'stderr'] as const).map(async (from) => {
    for await (const line of child.iterable({ from })) lines.push(line);
  });
  const exited = child.then(async ({ exitCode, signal }) => {
    await Promise.allSettled(readers);
    return { exitCode: exitCode ?? null, signal: signal ?? null };
  });
  if (child.pid === undefined) throw new Error(`${program} could not be started.`);
  const { pid } = child;

  async function kill(): Promise<void> {
    child.nodeChildProcess.kill('SIGKILL');
    await exited;
  }

  return {
    pid,
    exited,
    kill,
    logs: () => lines.flatMap(parseLogLine),
    output: () => lines.join('\n'),
    signal: (name) => void child.nodeChildProcess.kill(name),
    async stop() {
      child.nodeChildProcess.kill('SIGTERM');
      const timer = setTimeout(() => void child.nodeChildProcess.kill('SIGKILL'), STOP_LIMIT_MS);
      const { exitCode, signal } = await exited;
      clearTimeout(timer);
      if (signal === 'SIGKILL') throw new Error(`The server did not stop within ${STOP_LIMIT_MS / 1000} s.`);
      return exitCode;
    },
  };
}

async function makeFolders(folder: string): Promise<void> {
  for (const name of ['workspace', 'data', 'home', 'tmp', 'state']) {
    await mkdir(join(folder, name), { recursive: true });
  }
}

/** Returns nothing for a line that is no JSON object. */
export function parseLogLine(line: string): Record<string, unknown>[] {
  try {
    const parsed: unknown = JSON.parse(line);
    return typeof parsed === 'object' && parsed !== null ? [{ ...parsed }] : [];
  } catch {
    return [];
  }
}

/** Returns null while the line is not in the log. Throws when the server has ended. */
async function listeningUrl(server: Server): Promise<string | null> {
  for (const { msg, url } of server.logs()) {
    if (msg === 'listening' && typeof url === 'string') return url;
  }
  const ended = await Promise.race([server.exited, Promise.resolve(null)]);
  if (ended) throw new Error(`The server ended with ${ended.signal ?? `exit code ${ended.exitCode}`}.`);
  return null;
}
