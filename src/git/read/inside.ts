/** Finds files that a request or a repository names, if they really are inside a checkout. */

import { realpath } from 'node:fs/promises';
import path from 'node:path';
import { RunnerError } from '../../errors.ts';

/**
 * Returns the real path that `relative` leads to, through any links, from the folder `from` or, by default, from `root`.
 * `root` and `from` must be trusted and absolute; `relative` may be anything. Throws RunnerError if it is absolute, if
 * nothing is there, and if it leads out of `root`. Open the returned path, not the given one.
 */
export function resolveInside(root: string, relative: string): Promise<string>;
export function resolveInside(root: string, from: string, relative: string): Promise<string>;
export async function resolveInside(root: string, ...names: string[]): Promise<string> {
  const relative = names.at(-1) ?? '';
  const from = names.length > 1 ? (names[0] ?? root) : root;
  const shown = JSON.stringify(relative.slice(0, 200));
  if (relative.includes('\0') || path.isAbsolute(relative))
    throw new RunnerError(`${shown} is not a relative path.`);
  const realRoot = await realpath(root);
  // A path that leads out is refused before it is looked for, so that nobody learns what exists elsewhere.
  const asked = path.resolve(from, relative);
  if (!isInside(path.resolve(root), asked) && !isInside(realRoot, asked)) throw leadsOut(shown);
  const found = await realpath(asked).catch((error: NodeJS.ErrnoException) => {
    throw new RunnerError(`${shown} is not in the repository (${error.code}).`, {
      nextAction: 'Check its spelling, and that it was committed.',
    });
  });
  if (!isInside(realRoot, found)) throw leadsOut(shown);
  return found;
}

function isInside(root: string, target: string): boolean {
  return target === root || target.startsWith(root === path.sep ? root : `${root}${path.sep}`);
}

function leadsOut(shown: string): RunnerError {
  return new RunnerError(`${shown} leads out of the repository.`, {
    nextAction: 'Name something inside of it, and no link that points elsewhere.',
  });
}
