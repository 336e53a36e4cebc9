/** Remembers answers about the last few commits and blobs. */

import { forgetFirst } from '../../forget-first.ts';

/** An id always stands for the same content, so no answer gets old. The number is limited, because there are many ids. */
const KEPT = 3;

/** Resolves to the answer of `find`, or to its earlier answer for this id of this repository. Errors are not kept. */
export type Remember<T> = (repository: object, id: string, find: () => Promise<T>) => Promise<T>;

export function createCommitMemory<T>(): Remember<T> {
  const answers = new WeakMap<object, Map<string, { value: T }>>();
  return async (repository, id, find) => {
    const known = answers.get(repository) ?? new Map<string, { value: T }>();
    answers.set(repository, known);
    const answer = known.get(id) ?? { value: await find() };
    // The map is in the order of last use.
    known.delete(id);
    known.set(id, answer);
    forgetFirst(known, KEPT);
    return answer.value;
  };
}
