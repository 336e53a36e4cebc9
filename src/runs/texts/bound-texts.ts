/** Cuts the sentences of events to a limit, because they may quote what strangers wrote. Pure. */

import type { Explanation, RunEventBody } from '../run-events.ts';

/** Every list of runs shows whole messages. */
const MAX_MESSAGE_CHARACTERS = 1_000;
const MAX_NOTES = 200;
/** An explanation is sent whole to everyone who looks at the run. */
const MAX_PATHS = 5_000;
const MAX_CHARACTERS_OF_PATHS = 1_500_000;
/** Linux has no longer paths. */
const MAX_PATH_CHARACTERS = 4_096;
const MAX_FOLDER_CHARACTERS = 300;

/** Returns the event with its texts cut. Logs, plans and outputs have limits of their own. */
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

/** Cuts each path, and keeps only the first ones if there are too many. */
function boundExplanation({ revision, notes, services, unmatched }: Explanation): Explanation {
  let left = MAX_PATHS;
  let charactersLeft = MAX_CHARACTERS_OF_PATHS;
  let leftOut = 0;
  const listed = (paths: readonly string[]): string[] =>
    paths.flatMap((whole) => {
      const path = bound(whole, MAX_PATH_CHARACTERS);
      if (left === 0 || path.length > charactersLeft) {
        leftOut += 1;
        return [];
      }
      left -= 1;
      charactersLeft -= path.length;
      return [path];
    });
  const bounded = {
    unmatched: listed(unmatched),
    services: services.map((one) => ({
      ...one,
      folder: bound(one.folder, MAX_FOLDER_CHARACTERS),
      because: bound(one.because),
      paths: listed(one.paths),
    })),
  };
  const remarks = leftOut > 0 ? [`${leftOut} more changed paths are not listed.`] : [];
  return { revision, notes: [...boundNotes(notes), ...remarks], ...bounded };
}

function boundNotes(notes: readonly string[]): string[] {
  const left = notes.length - MAX_NOTES;
  const more = left > 0 ? [`${left} more remarks are left out.`] : [];
  return [...notes.slice(0, MAX_NOTES).map((note) => bound(note)), ...more];
}

function bound(text: string, most = MAX_MESSAGE_CHARACTERS): string {
  if (text.length <= most) return text;
  // A character that the cut would divide is left out.
  const start = text.slice(0, most - 1).replace(/[\ud800-\udbff]$/, '');
  return `${start}…`;
}
