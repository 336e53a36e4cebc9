/**
 * Writes the events of a deployment for its log stream: raw lines of the tool, changes of the status, and the end.
 */

import { NOT_STARTED, type Progress, projectProgress } from '../../runs/deployments/deploy-progress.ts';
import type { RunEvent } from '../../runs/run-events.ts';
import { sseMessage } from '../frame/event-streams.ts';
import type { StreamWords } from '../runs/run-stream.ts';

/**
 * Writes `log` with a line of the tool and its colours, `status` {deployment_id, status, phase, error} after a change,
 * and `end` {deployment_id, status, phase} as the last message. `seen` is the progress at the last event that the client
 * has seen, or null if it has seen none.
 */
export function createDeployWords(runId: string, seen: Progress | null): StreamWords {
  let current = seen ?? NOT_STARTED;
  let sent = seen !== null;
  return {
    messages(event: RunEvent, after: number): string {
      if (event.type === 'step.log') return logMessages(event, after);
      const next = projectProgress(current, event);
      const changed = next.status !== current.status || next.phase !== current.phase;
      current = next;
      if (sent && !changed) return '';
      sent = true;
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

/** A line break would end the field of the message (https://html.spec.whatwg.org/#parsing-an-event-stream). */
function oneLine(line: string): string {
  return line.replace(/[\r\n]|\0/g, '\ufffd');
}
