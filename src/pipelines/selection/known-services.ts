/** Answers from the mirror which services and commits the branch has, before a run looks at them. */

import { describeError, GitError, RequestError, SecretMissingError } from '../../errors.ts';
import type { Mirror } from '../../git/own/mirror.ts';
import { describeDuplicate } from '../rules/discover-services.ts';
import { loadRules } from '../rules/load-rules.ts';
import { snapshotAt } from '../rules/snapshot.ts';

interface ServiceIds {
  runnable: readonly string[];
  excluded: readonly string[];
  /** Ids that several folders have, which never run → a sentence that names the folders. */
  ambiguous: ReadonlyMap<string, string>;
}

interface KnownServices {
  /** The ids at the branch head, sorted. Fetches first if nothing is known yet, or if an id in `named` is unknown. */
  services(named: readonly string[]): Promise<ServiceIds>;
  /** The ids that can run at the last fetched head, sorted. Empty before the first fetch. */
  known(): Promise<string[]>;
  /** Resolves to true if the commit is on the branch. Fetches before it says no. */
  isOnBranch(revision: string): Promise<boolean>;
  /** The commits of the branch whose ids begin with these hexadecimal digits. Fetches before it says that there is none. */
  commitsBeginningWith(digits: string): Promise<string[]>;
}

interface Branch {
  mirror: Mirror;
  /** The text of the branch's last good rules file. */
  lastGoodRules(): Promise<string | null>;
  environment: string | null;
}

export function createKnownServices(branch: Branch): KnownServices {
  const { mirror } = branch;
  const idsAt = createIdMemory(branch);
  return {
    services: (named) =>
      answer(async () => {
        const head = await mirror.head();
        const known = head === null ? null : await idsAt(head);
        const all = new Set(known && [...known.runnable, ...known.excluded]);
        if (known && named.length > 0 && named.every((name) => all.has(name))) return known;
        return idsAt((await mirror.fetch()).head);
      }),
    async known() {
      const head = await mirror.head();
      return head === null ? [] : [...(await idsAt(head)).runnable];
    },
    isOnBranch: (revision) =>
      answer(async () => {
        const located = (await mirror.head()) === null ? null : await mirror.locate([revision]);
        if (located?.get(revision) === 'on_branch') return true;
        await mirror.fetch();
        return (await mirror.locate([revision])).get(revision) === 'on_branch';
      }),
    commitsBeginningWith: (digits) =>
      answer(async () => {
        const known = (await mirror.head()) === null ? [] : await commitsOfBranch(mirror, digits);
        if (known.length > 0) return known;
        await mirror.fetch();
        return commitsOfBranch(mirror, digits);
      }),
  };
}

async function commitsOfBranch(mirror: Mirror, digits: string): Promise<string[]> {
  const located = await mirror.locate(await mirror.idsBeginningWith(digits));
  return [...located].filter(([, location]) => location === 'on_branch').map(([id]) => id);
}

/** Turns what keeps a request from being looked at into an answer. */
export async function answer<T>(look: () => Promise<T>): Promise<T> {
  try {
    return await look();
  } catch (cause) {
    if (!(cause instanceof GitError || cause instanceof SecretMissingError)) throw cause;
    throw new RequestError(503, `What was named cannot be looked up: ${describeError(cause)}`, { cause });
  }
}

/** All callers share one look at the same commit under the same rules. A look that failed is forgotten. */
function createIdMemory({
  mirror,
  lastGoodRules,
  environment,
}: Branch): (head: string) => Promise<ServiceIds> {
  let last: { head: string; lastGood: string | null; found: Promise<ServiceIds> } | null = null;
  return async (head) => {
    const lastGood = await lastGoodRules();
    if (last?.head === head && last.lastGood === lastGood) return last.found;
    const look = { head, lastGood, found: findIds({ mirror, environment }, head, lastGood) };
    last = look;
    look.found.catch(() => {
      if (last === look) last = null;
    });
    return look.found;
  };
}

async function findIds(
  { mirror, environment }: Pick<Branch, 'mirror' | 'environment'>,
  head: string,
  lastGood: string | null,
): Promise<ServiceIds> {
  const { rules } = await loadRules(mirror, head, lastGood, environment);
  const { services, duplicates } = await snapshotAt({ repository: mirror, rules }, head);
  const ids = (runnable: boolean) => services.filter(({ runs }) => runs === runnable).map(({ id }) => id);
  const ambiguous = new Map(duplicates.map((duplicate) => [duplicate.id, describeDuplicate(duplicate)]));
  return { runnable: ids(true).sort(), excluded: ids(false).sort(), ambiguous };
}
