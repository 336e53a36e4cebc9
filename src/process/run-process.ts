/** Runs a task's process and hands its output over as masked, bounded lines while it runs. */

import { createLineSplitter } from './lines.ts';
import type { ProcessIdentity } from './process-table.ts';
import { createRedactor } from './redact.ts';
import { type ProcessEnd, type ProcessSpec, superviseProcess } from './supervise-process.ts';

export interface RunProcessSpec extends ProcessSpec {
  /** Masked in the output in every common encoding; shorter than six characters are ignored. */
  secrets?: Iterable<string> | undefined;
  /** Default 16 KiB. */
  maxLineBytes?: number | undefined;
  /** Of stdout and stderr together; default 64 MiB. What comes after is read and thrown away. */
  maxOutputBytes?: number | undefined;
}

export interface RunProcessHooks {
  onStart?(process: ProcessIdentity): void;
  /** Called with at least one whole line, never twice at once. The child waits while the promise is pending. */
  onLines(stream: 'stdout' | 'stderr', lines: string[]): Promise<void> | void;
}

const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

/** See `superviseProcess` for how it ends. An error thrown by a hook ends the child and rejects. */
export async function runProcess(spec: RunProcessSpec, hooks: RunProcessHooks): Promise<ProcessEnd> {
  const maxBytes = spec.maxOutputBytes ?? MAX_OUTPUT_BYTES;
  const splitterOptions = { redact: createRedactor(spec.secrets ?? []), maxLineBytes: spec.maxLineBytes };
  const splitters = {
    stdout: createLineSplitter(splitterOptions),
    stderr: createLineSplitter(splitterOptions),
  };
  let remainingBytes = maxBytes;

  const end = await superviseProcess(spec, {
    onStart: (process) => hooks.onStart?.(process),
    async onChunk(stream, chunk) {
      if (remainingBytes < 0) return;
      const lines = splitters[stream].push(chunk.subarray(0, remainingBytes));
      remainingBytes -= chunk.length;
      // A line still unfinished then is dropped with the rest: its cut might go through a secret.
      if (remainingBytes < 0) lines.push(`[output cut after ${maxBytes} bytes; the command goes on]`);
      if (lines.length > 0) await hooks.onLines(stream, lines);
    },
  });

  for (const stream of ['stdout', 'stderr'] as const) {
    const lines = remainingBytes < 0 ? [] : splitters[stream].end();
    if (lines.length > 0) await hooks.onLines(stream, lines);
  }
  return end;
}
