/** What is said to the isolated executor and by it: one request, then one response or a stream of messages. */

import { z } from 'zod';
import { TOOLS } from '../runs/deployments/deployment.ts';

/** Of a request, in bytes. */
export const MAX_REQUEST_BYTES = 16 * 1024 * 1024;
/** Of one message of a stream: a chunk of output at its worst, each byte written as an escape of six characters. */
export const MAX_MESSAGE_BYTES = 1024 * 1024;

const DEFAULT_TIMEOUT_MINUTES = 30;
const MINUTE_MS = 60_000;

const text = z.string().refine((value) => !value.includes('\0'), 'holds a NUL byte');
const given = text.min(1);
const count = z.int().positive();
/** As long as a timer can be. */
export const MAX_MS = 2 ** 31 - 1;
const milliseconds = z.number().max(MAX_MS);

/** Lists and maps may be null, as Go writes those that are empty; so may 0 stand for the usual timeout. */
const common = {
  work_dir: given,
  env_vars: z
    .record(z.string().regex(/^[^=\0]+$/), text)
    .nullish()
    .transform((value) => value ?? {}),
  /** Minutes. */
  timeout: z
    .number()
    .nonnegative()
    .nullish()
    .transform((value) => Math.ceil((value || DEFAULT_TIMEOUT_MINUTES) * MINUTE_MS)),
};

/** The form that callers of old know. Unknown fields are ignored. */
const toolRequest = z.object({
  tool: z.enum(TOOLS),
  command: given,
  args: z
    .array(text)
    .nullish()
    .transform((value) => value ?? []),
  ...common,
});

/** Heeded with `--stream` alone. */
const streamFields = {
  /**
   * The request is one line, and stdin stays open behind it: that it ends, or that more than empty lines comes, means
   * that nobody wants the command any more; `LastWord` says how soon. It works through ssh, sudo and docker, where a signal may not.
   */
  attached: z.boolean().default(false),
  /** Of an attached request: an empty line comes more often than this; longer silence is like the end of stdin. */
  silence_ms: milliseconds.positive().optional(),
  /** From an interrupt, sent first, to TERM, when the command is to end; 0: no interrupt. */
  interrupt_ms: milliseconds.nonnegative().optional(),
  /** Each process has them for itself: seconds of CPU time, bytes of address space, files. See setrlimit(2). */
  limits: z
    .object({
      cpu_seconds: count.nullish(),
      memory_bytes: count.nullish(),
      open_files: count.nullish(),
    })
    .optional(),
};

const streamedTool = toolRequest.extend(streamFields);

/** Any program, in place of `tool`, `command` and `args`. `env_vars` is then its whole environment. */
const programRequest = z.object({
  argv: z.tuple([given], text),
  ...common,
  ...streamFields,
  /** For its stdin. */
  input: z.string().optional(),
  /** Set to the name of a file that the program may write and that is answered, at most 64 KiB of it. */
  result_variable: z
    .string()
    .regex(/^[A-Za-z_]\w*$/)
    .optional(),
  /** Of both outputs together; of more, the middle is thrown away where it is written. */
  max_output_bytes: count.optional(),
});

export type ToolRequest = z.output<typeof toolRequest> & Partial<z.output<typeof streamedTool>>;
export type ProgramRequest = z.output<typeof programRequest>;
export type ExecRequest = ToolRequest | ProgramRequest;
/** As it is written. */
export type SentRequest = z.input<typeof programRequest>;

export type ParsedRequest =
  | { ok: true; request: ExecRequest }
  /** `isJson` is false for what may be the beginning of a request. */
  | { ok: false; isJson: boolean; problem: string };

/** The problem is one sentence and holds no value of the request, which may be secret. */
export function parseRequest(json: string, stream: boolean): ParsedRequest {
  let document: unknown;
  try {
    document = JSON.parse(json);
  } catch {
    return { ok: false, isJson: false, problem: 'Invalid request: not exactly one JSON object.' };
  }
  const fields = typeof document === 'object' && document !== null ? document : {};
  const isProgram = stream && 'argv' in fields;
  if (isProgram && 'tool' in fields) {
    return { ok: false, isJson: true, problem: 'Invalid request: it names both argv and a tool.' };
  }
  const result = (isProgram ? programRequest : stream ? streamedTool : toolRequest).safeParse(document);
  if (result.success) return { ok: true, request: result.data };
  const problems = result.error.issues.map(({ path, message }) => [...path, message].join(': '));
  return { ok: false, isJson: true, problem: `Invalid request: ${problems.join('; ')}.` };
}

/** The last line to an attached request: it is to end, by its own graces or, when there is less time, within this. */
const lastWord = z.object({ end_within_ms: z.number().nonnegative().nullable() });
export type LastWord = z.output<typeof lastWord>;

/** Undefined for what is none. */
export function parseLastWord(json: string): number | null | undefined {
  try {
    return lastWord.parse(JSON.parse(json)).end_within_ms;
  } catch {
    return undefined;
  }
}

const end = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('exited'), exitCode: z.int() }),
  z.object({ kind: z.literal('killed'), signal: z.string() }),
  z.object({ kind: z.literal('timed_out') }),
  z.object({ kind: z.literal('cancelled') }),
  z.object({ kind: z.literal('not_started'), code: z.string(), message: z.string() }),
]);

/** Times are RFC 3339 in UTC. */
const responseSchema = z.object({
  success: z.boolean(),
  /** stdout and stderr in their order, colours kept. Of `argv` none: its output has gone by in messages. */
  output: z.string(),
  exit_code: z.int(),
  error_msg: z.string(),
  started_at: z.iso.datetime(),
  ended_at: z.iso.datetime(),
});

export type ExecResponse = z.output<typeof responseSchema>;

/** In this order: `started` once the process runs, `log` any number of times, `finished`; or `finished` alone. */
export const messageSchema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('started'),
    /** Where the executor runs. Field 22 of /proc/PID/stat tells reused ids apart. */
    pid: z.int().positive(),
    start_ticks: z.string(),
    started_at: z.iso.datetime(),
  }),
  z.object({
    type: z.literal('log'),
    /** Of a `tool` always stdout: there both share a pipe. */
    stream: z.enum(['stdout', 'stderr']),
    /** Any piece of the output, not whole lines. */
    text: z.string(),
    /** What is missing before `text`, when the output is longer than `max_output_bytes`. */
    left_out: z
      .object({ bytes: z.int(), lines: z.int(), streams: z.array(z.enum(['stdout', 'stderr'])) })
      .optional(),
  }),
  responseSchema.extend({
    type: z.literal('finished'),
    /** How it ended, for programs. */
    end,
    /** What was written to the file of `result_variable`. */
    result: z.string().optional(),
  }),
]);

export type ExecMessage = z.output<typeof messageSchema>;
