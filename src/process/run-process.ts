/** Runs a task's process and hands its output over as masked, bounded lines while it runs. */

import { createOutputLines, type OutputLimits } from './output/output-lines.ts';
import type { ProcessIdentity } from './process-stat.ts';
import { type ProcessEnd, type ProcessSpec, superviseProcess } from './supervise-process.ts';

export interface RunProcessSpec extends ProcessSpec, OutputLimits {}

export interface RunProcessHooks {
  onStart?(process: ProcessIdentity): void;
  /** Called with at least one whole line, never twice at once. The child waits while the promise is pending. */
  onLines(stream: 'stdout' | 'stderr', lines: string[]): Promise<void> | void;
}

/** See `superviseProcess` for how it ends. An error thrown by a hook ends the child and rejects. */
export async function runProcess(spec: RunProcessSpec, hooks: RunProcessHooks): Promise<ProcessEnd> {
  const output = createOutputLines(spec);
  const end = await superviseProcess(spec, {
    onStart: (process) => hooks.onStart?.(process),
    async onChunk(stream, chunk) {
      const lines = output.push(stream, chunk);
      if (lines.length > 0) await hooks.onLines(stream, lines);
    },
  });
  for (const { stream, lines } of output.finish()) await hooks.onLines(stream, lines);
  return end;
}
