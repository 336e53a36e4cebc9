/** A deployment's events in the words of its event stream: raw log lines, status changes, and the end. */

import { NOT_BEGUN, type Progress, projectProgress } from '../../runs/deployments/deploy-progress.ts';
import type { RunEvent } from '../../runs/run-events.ts';
import { sseMessage } from '../runs/run-messages.ts';
import type { StreamWords } from '../runs/run-stream.ts';

/**
 * `log` with a line as the tool wrote it, colours included; `status` {deployment_id, status, phase, error} when that
 * changes; `end` {deployment_id, status, phase} as the last. `seen` is how far it was at the last event that the
 * client has seen, or null when it has seen none.
 */
export function createDeployWords(runId: string, seen: Progress | null): StreamWords {
  let current = seen ?? NOT_BEGUN;
  let told = seen !== null;
  return {
    messages(event: RunEvent, after: number): string {
      if (event.type === 'step.log') return logMessages(event, after);
      const next = projectProgress(current, event);
      const changed = next.status !== current.status || next.phase !== current.phase;
      current = next;
      if (told && !changed) return '';
      told = true;
      const { status, phase, error } = current;
      return sseMessage('status', { deployment_id: runId, status, phase, error }, event.seq);
    },
    end: () => sseMessage('end', { deployment_id: runId, status: current.status, phase: current.phase }),
  };
}

function logMessages(event: Extract<RunEvent, { type: 'step.log' }>, after: number): string {
  const { lines, seq } = event;
  return lines
    .map((line, index) =>
      seq + index > after ? `id: ${seq + index}\nevent: log\ndata: ${oneLine(line)}\n\n` : '',
    )
    .join('');
}

/** A line break would end the message's field (https://html.spec.whatwg.org/#parsing-an-event-stream). */
function oneLine(line: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not pass.
  return line.replace(/[\r\n\u0000]/g, '\ufffd');
}
