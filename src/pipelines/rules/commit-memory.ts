/** Answers about commits and blobs, kept for the few that are asked about again and again. */

/** What an id stands for never changes, so nothing here goes stale; it is bounded because there are many ids. */
const KEPT = 3;

/** The answer of `find`, or the one it gave before for this id of this repository; errors are not kept. */
export type Remember<T> = (repository: object, id: string, find: () => Promise<T>) => Promise<T>;

export function createCommitMemory<T>(): Remember<T> {
  const answers = new WeakMap<object, Map<string, { value: T }>>();
  return async (repository, id, find) => {
    const known = answers.get(repository) ?? new Map<string, { value: T }>();
    answers.set(repository, known);
    const answer = known.get(id) ?? { value: await find() };
    // In the order of their last use.
    known.delete(id);
    known.set(id, answer);
    for (const oldest of known.keys()) if (known.size > KEPT) known.delete(oldest);
    return answer.value;
  };
}
