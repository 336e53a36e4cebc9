/** Finds services that need each other in a circle. */

/** A long circle is cut in the middle. */
export function shownCircle(circle: string[]): string {
  const shown = circle.length <= 12 ? circle : [...circle.slice(0, 6), '…', ...circle.slice(-5)];
  return shown.join(' → ');
}

/** Services that need each other in a circle. The first one is repeated at the end. Null if there is no circle. */
export function findCircle(needs: Readonly<Record<string, readonly string[]>>): string[] | null {
  const needsOf = new Map(Object.entries(needs));
  const done = new Set<string>();
  const trail = new Set<string>();
  // This loop is not recursive, because a chain may be longer than the stack.
  const waiting = [...needsOf.keys()].reverse().map((id) => ({ id, isLeft: false }));
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const { id, isLeft } = next;
    if (isLeft) {
      trail.delete(id);
      done.add(id);
    } else if (trail.has(id)) {
      const ids = [...trail];
      return [...ids.slice(ids.indexOf(id)), id];
    } else if (!done.has(id)) {
      trail.add(id);
      waiting.push({ id, isLeft: true });
      for (const need of (needsOf.get(id) ?? []).toReversed()) waiting.push({ id: need, isLeft: false });
    }
  }
  return null;
}
