/** Bounds the texts that events say in sentences, which may quote what strangers wrote. Pure. */

import type { Explanation, RunEventBody } from './run-events.ts';

/** Every list of runs shows messages whole. */
export const MAX_MESSAGE_CHARACTERS = 1_000;
const MAX_NOTES = 200;

/** The same event with no text longer than it may be. Logs, plans and outputs have bounds of their own. */
export function boundTexts<T extends RunEventBody>(event: T): T {
  switch (event.type) {
    case 'run.explained':
      return { ...event, explanation: boundExplanation(event.explanation) };
    case 'run.diagnosed':
      return { ...event, problem: bound(event.problem), nextAction: bound(event.nextAction) };
    case 'run.revision':
      return { ...event, subject: bound(event.subject) };
    default:
      return 'message' in event ? { ...event, message: bound(event.message) } : event;
  }
}

function boundExplanation(explanation: Explanation): Explanation {
  return {
    ...explanation,
    notes: boundNotes(explanation.notes),
    services: explanation.services.map((one) => ({ ...one, because: bound(one.because) })),
  };
}

function boundNotes(notes: readonly string[]): string[] {
  const left = notes.length - MAX_NOTES;
  const more = left > 0 ? [`${left} more remarks are left out.`] : [];
  return [...notes.slice(0, MAX_NOTES).map(bound), ...more];
}

function bound(text: string): string {
  if (text.length <= MAX_MESSAGE_CHARACTERS) return text;
  // A character that the cut halves is left out.
  const start = text.slice(0, MAX_MESSAGE_CHARACTERS - 1).replace(/[\ud800-\udbff]$/, '');
  return `${start}…`;
}
