/** A run's events in the words of its event stream (text/event-stream). */

import { nextActionOf } from '../../runs/kinds/kinds.ts';
import type { RunKind } from '../../runs/run.ts';
import type { RunEvent } from '../../runs/run-events.ts';
import { plainLine, styledLine } from '../frame/ansi.ts';
import { rfc3339 } from '../frame/format.ts';
import type { StreamWords } from './run-stream.ts';

/** What the stream of a run's page says. */
export function createPageWords(kind: RunKind): StreamWords {
  return {
    messages: (event, after) => eventMessages(event, after, kind),
    end: (run) => sseMessage('end', { state: run?.state ?? null }),
  };
}

/**
 * The messages of an event's parts with a sequence number greater than `after`, or '' when it has none to show:
 * `log` {step, stream, spans: [{text, classes?}]}, one per line; `step` {id, state, …} and `run` {state, …} with
 * the members that change; `notice` {level, message}; `explained` {}, `planned` {step} and `outputs` {} when those
 * are known. Each carries its sequence number as id. Texts are ready to be shown: without controls, colours as class names.
 */
function eventMessages(event: RunEvent, after: number, kind: RunKind): string {
  if (event.type === 'step.log') {
    const { step, stream, lines, seq } = event;
    const messages = lines.map((line, index) =>
      seq + index > after ? sseMessage('log', { step, stream, spans: styledLine(line) }, seq + index) : '',
    );
    return messages.join('');
  }
  const change = event.seq > after ? describeChange(event, kind) : null;
  return change ? sseMessage(change.name, change.data, event.seq) : '';
}

/** One message. JSON has no line breaks of its own, so `data` is always one line. */
export function sseMessage(name: string, data: object, id?: number): string {
  return `${id === undefined ? '' : `id: ${id}\n`}event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}

type Change = { name: 'run' | 'step' | 'notice' | 'explained' | 'planned' | 'outputs'; data: object };

function describeChange(event: RunEvent, kind: RunKind): Change | null {
  if (event.type.startsWith('step.')) return describeStepChange(event);
  const at = rfc3339(event.at);
  switch (event.type) {
    case 'run.queued':
      return { name: 'run', data: { state: 'queued' } };
    case 'run.started':
      return { name: 'run', data: { state: 'running', attempt: event.attempt, started_at: at } };
    case 'run.revision':
      return { name: 'run', data: { revision: event.revision, subject: plainLine(event.subject) } };
    case 'run.chosen':
      return { name: 'run', data: { message: plainLine(event.message) } };
    case 'run.cancel_requested':
      return { name: 'run', data: { cancel_requested_by: event.by } };
    case 'run.requeued':
      return { name: 'run', data: { state: 'queued', message: plainLine(event.message) } };
    case 'run.awaiting_approval': {
      const message = plainLine(event.message);
      const approval_expires_at = rfc3339(event.expiresAt);
      return { name: 'run', data: { state: 'awaiting_approval', message, approval_expires_at } };
    }
    case 'run.decided': {
      const { decision, by } = event;
      return { name: 'run', data: { ...(decision === 'approved' && { state: 'queued' }), decision, by, at } };
    }
    case 'run.finished': {
      const { state, reason, coveredBy } = event;
      const message = plainLine(event.message);
      const next_action = nextActionOf({ kind, reason });
      const data = { state, reason, next_action, message, covered_by: coveredBy, finished_at: at };
      return { name: 'run', data };
    }
    case 'run.uncovered': {
      const reason = 'not_on_branch';
      const next_action = nextActionOf({ kind, reason });
      return { name: 'run', data: { reason, next_action, message: plainLine(event.message) } };
    }
    case 'run.notice':
      return { name: 'notice', data: { level: event.level, message: plainLine(event.message) } };
    case 'run.planned':
    case 'run.diagnosed':
      return { name: 'planned', data: { step: event.step } };
    case 'run.outputs':
      return { name: 'outputs', data: {} };
    case 'run.explained':
      return { name: 'explained', data: {} };
    default:
      return null;
  }
}

function describeStepChange(event: RunEvent): Change | null {
  const at = rfc3339(event.at);
  switch (event.type) {
    case 'step.planned': {
      const { step: id, wave } = event;
      return { name: 'step', data: { id, state: 'pending', message: plainLine(event.message), wave } };
    }
    case 'step.started':
      return { name: 'step', data: { id: event.step, state: 'running', message: 'Running', started_at: at } };
    case 'step.finished': {
      const { step: id, state, exitCode: exit_code } = event;
      const message = plainLine(event.message);
      return { name: 'step', data: { id, state, message, exit_code, finished_at: at } };
    }
    default:
      return null;
  }
}
