/** What the branch holds, for those who name services before a run looks: answered from the mirror. */

import { describeError, GitError, RequestError } from '../../errors.ts';
import type { Mirror } from '../../git/own/mirror.ts';
import { describeDuplicate } from '../rules/discover-services.ts';
import { loadRules } from '../rules/load-rules.ts';
import { snapshotAt } from '../rules/snapshot.ts';

interface ServiceIds {
  runnable: readonly string[];
  excluded: readonly string[];
  /** Ids that several folders claim, which are never run → a sentence that names the folders. */
  ambiguous: ReadonlyMap<string, string>;
}

export interface KnownServices {
  /** Ids at the branch head, sorted. Fetches when nothing is known yet or `named` has an unknown one. */
  services(named: readonly string[]): Promise<ServiceIds>;
  /** Ids that can run at the branch head as last fetched, sorted; none before the first fetch. */
  known(): Promise<string[]>;
  /** Whether the commit is on the branch; fetches before saying no. */
  isOnBranch(revision: string): Promise<boolean>;
}

export function createKnownServices(options: {
  mirror: Mirror;
  /** Text of the branch's last good rules file. */
  lastGoodRules(): Promise<string | null>;
}): KnownServices {
  const { mirror, lastGoodRules } = options;

  let last: { head: string; lastGood: string | null; found: Promise<ServiceIds> } | null = null;

  /** One look for all who ask about the same commit under the same rules; one that failed is forgotten. */
  async function at(head: string): Promise<ServiceIds> {
    const lastGood = await lastGoodRules();
    if (last?.head === head && last.lastGood === lastGood) return last.found;
    const look = { head, lastGood, found: lookAt(head, lastGood) };
    last = look;
    look.found.catch(() => {
      if (last === look) last = null;
    });
    return look.found;
  }

  async function lookAt(head: string, lastGood: string | null): Promise<ServiceIds> {
    const { rules } = await loadRules(mirror, head, lastGood);
    const { services, duplicates } = await snapshotAt({ repository: mirror, rules }, head);
    const ids = (runnable: boolean) =>
      services.filter(({ task }) => (task !== null) === runnable).map(({ id }) => id);
    const ambiguous = new Map(duplicates.map((duplicate) => [duplicate.id, describeDuplicate(duplicate)]));
    return { runnable: ids(true).sort(), excluded: ids(false).sort(), ambiguous };
  }

  /** Whoever asked may ask again: that git failed is not their fault, nor ours. */
  async function answer<T>(look: () => Promise<T>): Promise<T> {
    try {
      return await look();
    } catch (cause) {
      if (!(cause instanceof GitError)) throw cause;
      throw new RequestError(503, `What was named cannot be looked up: ${describeError(cause)}`, { cause });
    }
  }

  return {
    services: (named) =>
      answer(async () => {
        const head = await mirror.head();
        const known = head === null ? null : await at(head);
        const all = new Set(known && [...known.runnable, ...known.excluded]);
        if (known && named.length > 0 && named.every((name) => all.has(name))) return known;
        return at((await mirror.fetch()).head);
      }),
    async known() {
      const head = await mirror.head();
      return head === null ? [] : [...(await at(head)).runnable];
    },
    isOnBranch: (revision) =>
      answer(async () => {
        const located = (await mirror.head()) === null ? null : await mirror.locate([revision]);
        if (located?.get(revision) === 'on_branch') return true;
        await mirror.fetch();
        return (await mirror.locate([revision])).get(revision) === 'on_branch';
      }),
  };
}
