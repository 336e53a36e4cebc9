/** Says what is wrong with the body of a request. */

import type { z } from 'zod';
import { replaceUnseen } from '../runs/texts/unseen-characters.ts';

/** An answer names no more than this, because a body may consist of nothing but mistakes. */
export const SHOWN_PROBLEMS = 10;

/** Names the first mistakes and counts the others, because a body may consist of nothing else. */
export function describeIssues(issues: readonly z.core.$ZodIssue[]): string {
  const problems = issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys')
      return issue.keys.map((key) => `Unrecognized key: ${quoted(key)}`);
    const field = issue.path.join('.');
    return field ? `${field}: ${issue.message}` : issue.message;
  });
  const rest = problems.length - SHOWN_PROBLEMS;
  const shown = problems.slice(0, SHOWN_PROBLEMS).join('; ');
  return rest > 0 ? `${shown}; and ${rest} more` : shown;
}

/** Returns a name from the request, without characters that hide or turn around the text beside it. */
export function quoted(name: string): string {
  const shown = name.length > 100 ? `${name.slice(0, 100)}…` : name;
  return replaceUnseen(JSON.stringify(shown.toWellFormed()), '\ufffd');
}
