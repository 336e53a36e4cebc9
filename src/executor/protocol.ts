/** The protocol of the isolated executor: one request, then one response or a stream of messages. */

import { z } from 'zod';
import { parseJson } from '../parse-json.ts';
import { TOOLS } from '../runs/deployments/deployment.ts';
import { MAX_TIMER_MS, MEBIBYTE, MINUTE } from '../units.ts';

export const MAX_REQUEST_BYTES = 16 * MEBIBYTE;
/** The largest message is a chunk of output in which each byte is an escape of six characters. */
export const MAX_MESSAGE_BYTES = MEBIBYTE;

const DEFAULT_TIMEOUT_MINUTES = 30;

const text = z.string().refine((value) => !value.includes('\0'), 'holds a NUL byte');
const nonEmptyText = text.min(1);
const count = z.int().positive();
const milliseconds = z.number().max(MAX_TIMER_MS);

/** Lists and maps may be null, because Go writes empty ones as null. A timeout of 0 means the usual one. */
const common = {
  work_dir: nonEmptyText,
  env_vars: z
    .record(z.string().regex(/^[^=\0]+$/), text)
    .nullish()
    .transform((value) => value ?? {}),
  /** Minutes. */
  timeout: z
    .number()
    .nonnegative()
    .nullish()
    .transform((value) => Math.ceil((value || DEFAULT_TIMEOUT_MINUTES) * MINUTE)),
};

/** The request of older callers. Unknown fields are ignored. */
const toolRequest = z.object({
  tool: z.enum(TOOLS),
  command: nonEmptyText,
  args: z
    .array(text)
    .nullish()
    .transform((value) => value ?? []),
  ...common,
});

/** Used with `--stream` only. */
const streamFields = {
  /**
   * The request is one line, and stdin stays open. The end of stdin, or a line that is not empty, ends the command.
   * `LastWord` says how soon. This works through ssh, sudo and docker, where a signal may not arrive.
   */
  attached: z.boolean().default(false),
  /** In an attached request: the caller sends empty lines more often than this. A longer silence counts as the end of stdin. */
  silence_ms: milliseconds.positive().optional(),
  /** The time between an interrupt and TERM when the command has to end. 0 means no interrupt. */
  interrupt_ms: milliseconds.nonnegative().optional(),
  /** Limits of each process: seconds of CPU time, bytes of address space, files. See setrlimit(2). */
  limits: z
    .object({
      cpu_seconds: count.nullish(),
      memory_bytes: count.nullish(),
      open_files: count.nullish(),
    })
    .optional(),
};

const streamedTool = toolRequest.extend(streamFields);

/** A request for any program, instead of `tool`, `command` and `args`. `env_vars` is its whole environment. */
const programRequest = z.object({
  argv: z.tuple([nonEmptyText], text),
  ...common,
  ...streamFields,
  /** Written to its stdin. */
  input: z.string().optional(),
  /** The variable that gets the name of a file that the program may write. The answer contains at most 64 KiB of it. */
  result_variable: z
    .string()
    .regex(/^[A-Za-z_]\w*$/)
    .optional(),
  /** For both outputs together. The executor drops the middle of a longer output. */
  max_output_bytes: count.optional(),
});

export type ToolRequest = z.output<typeof toolRequest> & Partial<z.output<typeof streamedTool>>;
export type ProgramRequest = z.output<typeof programRequest>;
export type ExecRequest = ToolRequest | ProgramRequest;
/** The request before it is parsed. */
export type SentRequest = z.input<typeof programRequest>;

export type ParsedRequest =
  | { ok: true; request: ExecRequest }
  /** `isJson` is false if the text may be the start of a request. */
  | { ok: false; isJson: boolean; problem: string };

/** The problem is one sentence, and contains no value of the request, because that may be secret. */
export function parseRequest(json: string, stream: boolean): ParsedRequest {
  const document = parseJson(json);
  if (document === undefined) {
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

/** The last line of an attached request. The command has to end within this time, or in its usual time if it is null. */
const lastWord = z.object({ end_within_ms: z.number().nonnegative().nullable() });
export type LastWord = z.output<typeof lastWord>;

/** Returns undefined if the text is no last word. */
export function parseLastWord(json: string): number | null | undefined {
  return lastWord.safeParse(parseJson(json)).data?.end_within_ms;
}

const end = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('exited'), exitCode: z.int() }),
  z.object({ kind: z.literal('killed'), signal: z.string() }),
  z.object({ kind: z.literal('timed_out') }),
  z.object({ kind: z.literal('cancelled') }),
  z.object({ kind: z.literal('not_started'), code: z.string(), message: z.string() }),
]);

/** The times are RFC 3339 in UTC. */
const responseSchema = z.object({
  success: z.boolean(),
  /** stdout and stderr in their order, with colours. Empty for `argv`, whose output was sent in messages. */
  output: z.string(),
  exit_code: z.int(),
  error_msg: z.string(),
  started_at: z.iso.datetime(),
  ended_at: z.iso.datetime(),
});

export type ExecResponse = z.output<typeof responseSchema>;

/** In this order: one `started` when the process runs, any number of `log`, and one `finished`. Or only `finished`. */
export const messageSchema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('started'),
    /** The process id on the executor's machine. `start_ticks`, field 22 of /proc/PID/stat, distinguishes reused ids. */
    pid: z.int().positive(),
    start_ticks: z.string(),
    started_at: z.iso.datetime(),
  }),
  z.object({
    type: z.literal('log'),
    /** For a `tool` always stdout, because both outputs share a pipe. */
    stream: z.enum(['stdout', 'stderr']),
    /** Any part of the output. It need not be whole lines. */
    text: z.string(),
    /** The part that is missing before `text`, if the output is longer than `max_output_bytes`. */
    left_out: z
      .object({ bytes: z.int(), lines: z.int(), streams: z.array(z.enum(['stdout', 'stderr'])) })
      .optional(),
  }),
  responseSchema.extend({
    type: z.literal('finished'),
    /** The end of the command, for programs. */
    end,
    /** The content of the file of `result_variable`. */
    result: z.string().optional(),
  }),
]);

export type ExecMessage = z.output<typeof messageSchema>;
