/** Limits the size of a map or set. */

/** Deletes the first entries of a map or set until it has at most `limit`. */
export function forgetFirst<Key>(
  entries: { keys(): Iterable<Key>; readonly size: number; delete(key: Key): boolean },
  limit: number,
): void {
  for (const first of entries.keys()) {
    if (entries.size <= limit) return;
    entries.delete(first);
  }
}
