/** What the branch holds, for those who name services before a run looks: answered from the mirror. */

import { RequestError } from '../errors.ts';
import type { Mirror } from '../git/mirror.ts';
import { loadRules } from './load-rules.ts';
import { snapshotAt } from './snapshot.ts';

export interface KnownServices {
  /** Ids at the branch head, sorted. Fetches when nothing is known yet or `named` has an unknown one. */
  services(named: readonly string[]): Promise<{ runnable: string[]; excluded: string[] }>;
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

  async function at(head: string): Promise<{ runnable: string[]; excluded: string[] }> {
    const { rules } = await loadRules(mirror, head, await lastGoodRules());
    const { services } = await snapshotAt({ repository: mirror, rules }, head);
    const ids = (runnable: boolean) =>
      services.filter(({ task }) => (task !== null) === runnable).map(({ id }) => id);
    return { runnable: ids(true).sort(), excluded: ids(false).sort() };
  }

  async function fetched(): Promise<string> {
    try {
      return (await mirror.fetch()).head;
    } catch (cause) {
      throw new RequestError(503, 'The repository cannot be reached to look up what was named', { cause });
    }
  }

  return {
    async services(named) {
      const head = await mirror.head();
      const known = head === null ? null : await at(head);
      const all = new Set(known && [...known.runnable, ...known.excluded]);
      if (known && named.length > 0 && named.every((name) => all.has(name))) return known;
      return at(await fetched());
    },
    async known() {
      const head = await mirror.head();
      return head === null ? [] : (await at(head)).runnable;
    },
    async isOnBranch(revision) {
      const located = (await mirror.head()) === null ? null : await mirror.locate([revision]);
      if (located?.get(revision) === 'on_branch') return true;
      await fetched();
      return (await mirror.locate([revision])).get(revision) === 'on_branch';
    },
  };
}
