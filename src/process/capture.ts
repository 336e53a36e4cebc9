/** Runs a short program, such as a git command, and collects its output. */

import { KIBIBYTE, MEBIBYTE } from '../units.ts';
import type { ProcessLimits } from './limits.ts';
import { type ProcessEnd, superviseProcess } from './supervise-process.ts';
import type { Watchdog } from './watchdog/watchdog.ts';

export interface CaptureSpec {
  argv: readonly [string, ...string[]];
  cwd: string;
  /** The whole environment of the child. Nothing is inherited. */
  env: Record<string, string>;
  timeoutMs: number;
  /** Written to stdin. Without it stdin is /dev/null. */
  input?: string | Uint8Array;
  signal?: AbortSignal;
  limits?: ProcessLimits | null;
  watchdog?: Watchdog | null;
  /** A longer stdout ends the child. Default 64 MiB. */
  maxOutputBytes?: number;
}

/** `stderr` is the last 64 KiB. */
export type CaptureResult =
  | { kind: 'exited'; exitCode: number; stdout: Buffer; stderr: string }
  | { kind: 'timed_out'; stderr: string }
  | { kind: 'cancelled' }
  | { kind: 'too_much_output' }
  | { kind: 'killed'; signal: string; stderr: string }
  | { kind: 'not_started'; code: string; message: string };

const MAX_OUTPUT_BYTES = 64 * MEBIBYTE;
const MAX_STDERR_BYTES = 64 * KIBIBYTE;

/** Never throws because of the child. A timeout or an abort ends the child's whole process group. */
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
