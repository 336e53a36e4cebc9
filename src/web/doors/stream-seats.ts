/** Bounds how many streams are open at once: in all, from one address, and through signed links. */

import type { Context } from 'hono';
import type { Access } from '../access/access.ts';
import { addressGroup } from './client-address.ts';

export interface StreamSeats {
  /**
   * Takes a seat and returns the function that frees it, or returns null when no seat is left. `link` is the run that a
   * signed link opens, or null for callers who are signed in.
   */
  take(c: Context, link: string | null): (() => void) | null;
}

const PER_ADDRESS = 100;
/** The limit of all signed links together, which leaves seats for callers who are signed in. */
const BY_LINKS = 100;
/** A link may stand in public. */
const PER_LINK = 20;

export function createStreamSeats(access: Pick<Access, 'addressOf'>, overall: number): StreamSeats {
  const taken = new Map<string, number>();
  const takenOf = (name: string) => taken.get(name) ?? 0;

  function free(name: string): void {
    if (takenOf(name) === 1) taken.delete(name);
    else taken.set(name, takenOf(name) - 1);
  }

  return {
    take(c, link) {
      const limits: [name: string, limit: number][] = [
        ['all', overall],
        [`address ${addressGroup(access.addressOf(c))}`, PER_ADDRESS],
      ];
      if (link !== null) limits.push(['links', BY_LINKS], [`link ${link}`, PER_LINK]);
      if (limits.some(([name, limit]) => takenOf(name) >= limit)) return null;
      for (const [name] of limits) taken.set(name, takenOf(name) + 1);
      let isTaken = true;
      return () => {
        if (!isTaken) return;
        isTaken = false;
        for (const [name] of limits) free(name);
      };
    },
  };
}
