/** Writes the events of a run for the event stream of its page (text/event-stream). */

import { nextActionOf } from '../../runs/kinds/kinds.ts';
import type { RunKind } from '../../runs/run.ts';
import type { RunEvent } from '../../runs/run-events.ts';
import { plainLine, styledLine } from '../frame/ansi.ts';
import { sseMessage } from '../frame/event-streams.ts';
import { rfc3339 } from '../frame/format.ts';
import { lastSequence } from '../logs/run-log.ts';
import type { StreamWords } from './run-stream.ts';

/** With `countsOnly`, `output` {step, lines} says how many lines were printed, in place of a `log` for each of them. */
export function createPageWords(kind: RunKind, countsOnly = false): StreamWords {
  return {
    messages: (event, after) =>
      countsOnly && event.type === 'step.log'
        ? countMessage(event, after)
        : eventMessages(event, after, kind),
    end: (run) => sseMessage('end', { state: run?.state ?? null }),
  };
}

function countMessage(event: EventOf<'step.log'>, after: number): string {
  const last = lastSequence(event);
  const lines = last - Math.max(after, event.seq - 1);
  return lines > 0 ? sseMessage('output', { step: event.step, lines }, last) : '';
}

/**
 * The messages of an event's parts with a sequence number greater than `after`, or '' when it has none to show:
 * `log` {step, stream, spans: [{text, classes?}]}, one per line; `step` {id, state, …} and `run` {state, …} with
 * the members that change; `notice` {level, message}; `explained` {}, `planned` {step} and `outputs` {} when those
 * are known. Each carries its sequence number as id. Texts have no controls, and colours are class names.
 */
function eventMessages(event: RunEvent, after: number, kind: RunKind): string {
  if (event.type === 'step.log') {
    const { step, stream, lines, seq } = event;
    const messages = lines.map((line, index) =>
      seq + index > after ? sseMessage('log', { step, stream, spans: styledLine(line) }, seq + index) : '',
    );
    return messages.join('');
  }
  const describe = CHANGES[event.type] as ((event: RunEvent, kind: RunKind) => Change) | undefined;
  if (event.seq <= after || !describe) return '';
  const [name, data] = describe(event, kind);
  return sseMessage(name, data, event.seq);
}

type Change = [name: 'run' | 'step' | 'notice' | 'explained' | 'planned' | 'outputs', data: object];
type EventOf<Type extends RunEvent['type']> = Extract<RunEvent, { type: Type }>;

/** Events that are not listed change nothing on the page. */
const CHANGES: { [Type in RunEvent['type']]?: (event: EventOf<Type>, kind: RunKind) => Change } = {
  'run.queued': () => ['run', { state: 'queued' }],
  'run.started': ({ attempt, at }) => ['run', { state: 'running', attempt, started_at: rfc3339(at) }],
  'run.revision': ({ revision, subject }) => ['run', { revision, subject: plainLine(subject) }],
  'run.chosen': ({ message }) => ['run', { message: plainLine(message) }],
  'run.cancel_requested': ({ by }) => ['run', { cancel_requested_by: by }],
  'run.released': ({ message }) => ['run', { message: plainLine(message) }],
  'run.requeued': ({ message }) => ['run', { state: 'queued', message: plainLine(message) }],
  'run.awaiting_approval': ({ message, expiresAt }) => [
    'run',
    { state: 'awaiting_approval', message: plainLine(message), approval_expires_at: rfc3339(expiresAt) },
  ],
  'run.decided': ({ decision, by, at }) => [
    'run',
    { ...(decision === 'approved' && { state: 'queued' }), decision, by, at: rfc3339(at) },
  ],
  'run.finished': ({ state, reason, message, coveredBy, at }, kind) => [
    'run',
    {
      state,
      reason,
      next_action: nextActionOf({ kind, reason }),
      message: plainLine(message),
      covered_by: coveredBy,
      finished_at: rfc3339(at),
    },
  ],
  'run.uncovered': ({ message }, kind) => {
    const reason = 'not_on_branch';
    return ['run', { reason, next_action: nextActionOf({ kind, reason }), message: plainLine(message) }];
  },
  'run.notice': ({ level, message }) => ['notice', { level, message: plainLine(message) }],
  'run.planned': ({ step }) => ['planned', { step }],
  'run.diagnosed': ({ step }) => ['planned', { step }],
  'run.outputs': () => ['outputs', {}],
  'run.explained': () => ['explained', {}],
  'step.planned': ({ step, message, wave }) => [
    'step',
    { id: step, state: 'pending', message: plainLine(message), wave },
  ],
  'step.started': ({ step, at }) => [
    'step',
    { id: step, state: 'running', message: 'Running', started_at: rfc3339(at) },
  ],
  'step.finished': ({ step, state, message, exitCode, at }) => [
    'step',
    { id: step, state, message: plainLine(message), exit_code: exitCode, finished_at: rfc3339(at) },
  ],
};
