/** Runs the command of a request, on the isolated executor's side. */

import { randomUUID } from 'node:crypto';
import { access, constants, stat } from 'node:fs/promises';
import { StringDecoder } from 'node:string_decoder';
import { describeError, errorCode } from '../errors.ts';
import { findProgram } from '../process/find-program.ts';
import { createHeadAndTail, type HeadAndTail } from '../process/output/head-and-tail.ts';
import type { ProcessIdentity } from '../process/process-stat.ts';
import { type ProcessEnd, type ProcessSpec, superviseProcess } from '../process/supervise-process.ts';
import { MEBIBYTE, SECOND } from '../units.ts';
import { type BoundedOutput, createBoundedOutput } from './bounded-output.ts';
import type { ExecMessage, ExecRequest, ExecResponse, ProgramRequest, ToolRequest } from './protocol.ts';
import { withResultFile } from './result-file.ts';

interface PerformOptions {
  /** The variables that a tool gets besides `env_vars`, such as PATH and HOME. Tools are searched on this PATH. */
  environment: Readonly<Record<string, string>>;
  /** An abort ends the command. The reason is a sentence for `error_msg`. */
  signal: AbortSignal;
  /** Called with `started` and `log`. The command waits while the promise is pending. An error ends the command and rejects. */
  send(message: ExecMessage): Promise<void> | void;
  /** How much of a tool's output the answer contains. Default 32 MiB. */
  maxOutputBytes?: number;
}

export type Finished = Extract<ExecMessage, { type: 'finished' }>;

const MAX_OUTPUT_BYTES = 32 * MEBIBYTE;
/** In this time terraform and tofu save their state and release their lock. */
const TOOL_INTERRUPT_MS = 10 * SECOND;

export async function performRequest(request: ExecRequest, options: PerformOptions): Promise<Finished> {
  const startedAt = new Date();
  const output = createBoundedOutput(options.maxOutputBytes ?? MAX_OUTPUT_BYTES);
  const { end, result } =
    'argv' in request
      ? await withResultFile(request, (whole) => runProgram(whole, options))
      : { end: await runTool(request, options, output) };
  const { success, exit_code, error_msg } = responseTo(end, options.signal);
  return {
    type: 'finished',
    success,
    output: output.text(),
    exit_code,
    error_msg,
    started_at: startedAt.toISOString(),
    ended_at: new Date().toISOString(),
    end,
    ...(result === undefined ? {} : { result }),
  };
}

/** The answer to an invalid request. */
export function refusal(problem: string): Finished {
  const now = new Date().toISOString();
  return {
    type: 'finished',
    success: false,
    output: '',
    exit_code: 1,
    error_msg: problem,
    started_at: now,
    ended_at: now,
    end: { kind: 'not_started', code: 'EINVAL', message: problem },
  };
}

async function runTool(
  request: ToolRequest,
  options: PerformOptions,
  output: BoundedOutput,
): Promise<ProcessEnd> {
  const problem = await folderProblem(request.work_dir);
  if (problem !== null) return { kind: 'not_started', ...problem };
  const program = await findProgram(options.environment.PATH ?? '', request.tool);
  if (program === null) {
    const message = `exec: "${request.tool}": executable file not found in $PATH`;
    return { kind: 'not_started', code: 'ENOENT', message };
  }
  const spec = {
    ...specOf(request, options.signal, { ...options.environment, ...request.env_vars }),
    argv: [program, request.command, ...request.args] as const,
    interruptGraceMs: request.interrupt_ms ?? TOOL_INTERRUPT_MS,
    onePipe: true,
  };
  return relay(spec, options, {
    push(_stream, chunk) {
      output.push(chunk);
      return chunk;
    },
    finish: () => ({ leftOut: null, chunks: [] }),
  });
}

function runProgram(request: ProgramRequest, options: PerformOptions): Promise<ProcessEnd> {
  const spec = {
    ...specOf(request, options.signal, request.env_vars),
    argv: request.argv,
    input: request.input,
    interruptGraceMs: request.interrupt_ms || undefined,
  };
  return relay(spec, options, createHeadAndTail(request.max_output_bytes ?? Number.POSITIVE_INFINITY));
}

function specOf(
  { work_dir: cwd, timeout: timeoutMs, limits }: ExecRequest,
  signal: AbortSignal,
  environment: Readonly<Record<string, string>>,
): Omit<ProcessSpec, 'argv'> {
  // It marks all processes of the command. The caller may have set it, to find them too.
  const { IAC_PROCESS_ID = randomUUID() } = environment;
  return {
    cwd,
    timeoutMs,
    signal,
    env: { ...environment, IAC_PROCESS_ID },
    marker: `IAC_PROCESS_ID=${IAC_PROCESS_ID}`,
    limits: limits && {
      cpuSeconds: limits.cpu_seconds ?? null,
      memoryBytes: limits.memory_bytes ?? null,
      openFiles: limits.open_files ?? null,
    },
  };
}

/** Sends the part of the output that `bounded` lets through. Cuts it only between characters. */
async function relay(spec: ProcessSpec, { send }: PerformOptions, bounded: HeadAndTail): Promise<ProcessEnd> {
  const decoders = { stdout: new StringDecoder('utf8'), stderr: new StringDecoder('utf8') };
  const sendText = async (stream: 'stdout' | 'stderr', text: string): Promise<void> => {
    if (text !== '') await send({ type: 'log', stream, text });
  };
  let started = Promise.resolve();
  const end = await superviseProcess(spec, {
    onStart(identity) {
      started = Promise.resolve(send(startedMessage(identity)));
      // The error is handled where the promise is awaited.
      started.catch(() => undefined);
    },
    async onChunk(stream, chunk) {
      await started;
      await sendText(stream, decoders[stream].write(bounded.push(stream, chunk)));
    },
  });
  await started;
  const { leftOut, chunks } = bounded.finish();
  if (leftOut) {
    for (const stream of leftOut.streams) decoders[stream] = new StringDecoder('utf8');
    await send({ type: 'log', stream: 'stdout', text: '', left_out: leftOut });
  }
  for (const { stream, chunk } of chunks) await sendText(stream, decoders[stream].write(chunk));
  for (const stream of ['stdout', 'stderr'] as const) await sendText(stream, decoders[stream].end());
  return end;
}

function startedMessage({ pid, startTicks }: ProcessIdentity): ExecMessage {
  return { type: 'started', pid, start_ticks: startTicks, started_at: new Date().toISOString() };
}

function responseTo(
  end: ProcessEnd,
  signal: AbortSignal,
): Pick<ExecResponse, 'success' | 'exit_code' | 'error_msg'> {
  const failed = { success: false, exit_code: 1 };
  switch (end.kind) {
    case 'exited':
      if (end.exitCode === 0) return { success: true, exit_code: 0, error_msg: '' };
      return { success: false, exit_code: end.exitCode, error_msg: `exit status ${end.exitCode}` };
    case 'killed':
      return { ...failed, error_msg: `signal: ${SIGNAL_WORDS[end.signal] ?? end.signal}` };
    case 'timed_out':
      return { ...failed, error_msg: 'signal: killed' };
    case 'cancelled':
      return { ...failed, error_msg: `cancelled: ${describeError(signal.reason)}` };
    case 'not_started':
      return { ...failed, error_msg: end.message };
  }
}

/** Go's names of signals, which older callers expect. */
const SIGNAL_WORDS: Record<string, string> = {
  SIGKILL: 'killed',
  SIGTERM: 'terminated',
  SIGINT: 'interrupt',
  SIGHUP: 'hangup',
  SIGABRT: 'aborted',
  SIGSEGV: 'segmentation fault',
  SIGXCPU: 'CPU time limit exceeded',
};

/** Resolves to null if the folder can be used, else to the problem in the words of Go, which older callers expect. */
async function folderProblem(folder: string): Promise<{ code: string; message: string } | null> {
  const problem = (code: string, words: string) => ({ code, message: `chdir ${folder}: ${words}` });
  try {
    if (!(await stat(folder)).isDirectory()) return problem('ENOTDIR', 'not a directory');
    await access(folder, constants.X_OK);
    return null;
  } catch (error) {
    const code = errorCode(error);
    if (code === 'ENOENT') return problem(code, 'no such file or directory');
    if (code === 'EACCES') return problem(code, 'permission denied');
    return problem(code, code === 'ENOTDIR' ? 'not a directory' : code);
  }
}
