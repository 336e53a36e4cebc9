/** Runs a short program, such as a git command, and collects its output. */

import type { ProcessLimits } from './limits.ts';
import { type ProcessEnd, superviseProcess } from './supervise-process.ts';
import type { Watchdog } from './watchdog/watchdog.ts';

export interface CaptureSpec {
  argv: readonly [string, ...string[]];
  cwd: string;
  /** The whole environment of the child. Nothing is inherited. */
  env: Record<string, string>;
  timeoutMs: number;
  /** Written to stdin; without it stdin is /dev/null. */
  input?: string | Uint8Array;
  signal?: AbortSignal;
  limits?: ProcessLimits | null;
  watchdog?: Watchdog | null;
  /** Of stdout; default 64 MiB; more ends the child. */
  maxOutputBytes?: number;
}

/** `stderr` is its last 64 KiB. */
export type CaptureResult =
  | { kind: 'exited'; exitCode: number; stdout: Buffer; stderr: string }
  | { kind: 'timed_out'; stderr: string }
  | { kind: 'cancelled' }
  | { kind: 'too_much_output' }
  | { kind: 'killed'; signal: string; stderr: string }
  | { kind: 'not_started'; code: string; message: string };

const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;
const MAX_STDERR_BYTES = 64 * 1024;

/**
 * Runs a short program and collects its output. Never throws for what the child does. stdin is /dev/null
 * unless `input` is given. Own process group, killed whole on timeout or abort. Nothing is inherited from
 * the environment.
 */
export async function captureProcess(spec: CaptureSpec): Promise<CaptureResult> {
  const maxBytes = spec.maxOutputBytes ?? MAX_OUTPUT_BYTES;
  const tooMuch = new Error(`More than ${maxBytes} bytes of output.`);
  const stdout: Buffer[] = [];
  let stdoutBytes = 0;
  let stderr: Buffer = Buffer.alloc(0);
  let end: ProcessEnd;
  try {
    end = await superviseProcess(spec, {
      onChunk(stream, chunk) {
        if (stream === 'stderr') {
          stderr = Buffer.concat([stderr, chunk]).subarray(-MAX_STDERR_BYTES);
          return;
        }
        stdoutBytes += chunk.length;
        if (stdoutBytes > maxBytes) throw tooMuch;
        stdout.push(chunk);
      },
    });
  } catch (error) {
    if (error === tooMuch) return { kind: 'too_much_output' };
    throw error;
  }
  switch (end.kind) {
    case 'exited':
      return { ...end, stdout: Buffer.concat(stdout), stderr: stderr.toString() };
    case 'killed':
    case 'timed_out':
      return { ...end, stderr: stderr.toString() };
    default:
      return end;
  }
}
