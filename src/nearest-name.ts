/** Finds the name that somebody most likely meant. */

import { UsageError } from './errors.ts';

/** An error that says what there is, and what was probably meant. */
export function nearestOf(what: string, name: string, there: readonly string[]): UsageError {
  const nearest = nearestName(name, there);
  const hint =
    nearest === null ? `There are: ${there.slice(0, 20).join(', ') || 'none'}.` : `Did you mean ${nearest}?`;
  return new UsageError(`There is no ${what} ${JSON.stringify(name)}. ${hint}`);
}

/** Returns null if none is near. */
export function nearestName(name: string, there: readonly string[]): string | null {
  const near = there
    .map((other) => ({ other, far: other.endsWith(`/${name}`) ? 0 : distance(name, other) }))
    .filter(({ far }) => far <= Math.max(1, Math.floor(name.length / 3)))
    .sort((one, other) => one.far - other.far);
  return near[0]?.other ?? null;
}

/** How many letters have to be inserted, deleted, replaced, or swapped with their neighbour. */
export function distance(one: string, other: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: other.length + 1 }, (_, column) => column);
  for (let row = 1; row <= one.length; row++) {
    const current = [row];
    for (let column = 1; column <= other.length; column++) {
      const isSame = one[row - 1] === other[column - 1];
      const isSwapped = one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1];
      current[column] = Math.min(
        at(last, column) + 1,
        at(current, column - 1) + 1,
        at(last, column - 1) + (isSame ? 0 : 1),
        isSwapped ? at(beforeLast, column - 2) + 1 : Number.POSITIVE_INFINITY,
      );
    }
    [beforeLast, last] = [last, current];
  }
  return at(last, other.length);
}

function at(row: readonly number[], column: number): number {
  return row[column] ?? Number.POSITIVE_INFINITY;
}
