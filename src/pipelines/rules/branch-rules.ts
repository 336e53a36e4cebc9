/** The rules of the branch as last seen, for answers that cannot wait until a run looks. */

import type { Mirror } from '../../git/own/mirror.ts';
import { servicesNamedBy } from '../selection/touched-paths.ts';
import { loadRules } from './load-rules.ts';
import { DEFAULT_RULES, RULES_FILE, type Rules } from './service-rules.ts';

/** GitHub gives up after ten seconds. */
const WAIT_MS = 4_000;

interface PushedPaths {
  paths: readonly string[];
  /** The commit that was pushed, as delivered. */
  after: string;
}

interface NamedServices {
  /** Sorted, with `__all__` when a shared path changed. */
  services: string[];
  /** False when the push may be under other rules, so that only git can tell. */
  isSure: boolean;
}

export interface BranchRules {
  /** The services that a push names. Never throws, and answers within seconds. */
  namedBy(push: PushedPaths): Promise<NamedServices>;
}

export function createBranchRules(options: {
  mirror: Mirror;
  /** Text of the branch's last good rules file. */
  lastGoodRules(): Promise<string | null>;
  /** How long a push waits for the first fetch. Default 4 s. */
  waitMs?: number;
  /** For how long the head is remembered, so that a flood of pushes does not read it as often. Default: not at all. */
  rememberMs?: number;
}): BranchRules {
  const { mirror, lastGoodRules, waitMs = WAIT_MS, rememberMs = 0 } = options;
  let known: { head: Promise<string | null>; until: number } | null = null;
  let last: { head: string; rules: Rules } | null = null;
  let fetching: Promise<string | null> | null = null;
  /** The head whose rules a push has replaced; until the next fetch nobody knows the new ones. */
  let replacedAt: string | null = null;

  /** One fetch for all who wait for it. */
  function firstFetch(): Promise<string | null> {
    fetching ??= mirror
      .fetch()
      .then(({ head }) => head)
      .finally(() => {
        fetching = null;
      });
    return fetching;
  }

  function currentHead(): Promise<string | null> {
    const now = performance.now();
    if (known === null || known.until <= now) known = { head: mirror.head(), until: now + rememberMs };
    return known.head;
  }

  async function rulesAt(head: string): Promise<Rules> {
    if (last?.head !== head) {
      const { rules } = await loadRules(mirror, head, await lastGoodRules());
      last = { head, rules };
    }
    return last.rules;
  }

  async function look({ paths, after }: PushedPaths): Promise<NamedServices> {
    const head = (await currentHead()) ?? (await firstFetch());
    if (head === null) return unsure(paths, last?.rules);
    if (head !== after && paths.includes(RULES_FILE)) replacedAt = head;
    const rules = await rulesAt(head);
    return head === replacedAt || paths.includes(RULES_FILE)
      ? unsure(paths, rules)
      : { services: servicesNamedBy(paths, rules), isSure: true };
  }

  return {
    async namedBy(push) {
      const { promise, resolve } = Promise.withResolvers<NamedServices>();
      const timer = setTimeout(() => resolve(unsure(push.paths, last?.rules)), waitMs);
      look(push).then(resolve, () => resolve(unsure(push.paths, last?.rules)));
      return promise.finally(() => clearTimeout(timer));
    },
  };
}

function unsure(paths: readonly string[], rules: Rules = DEFAULT_RULES): NamedServices {
  return { services: servicesNamedBy(paths, rules), isSure: false };
}
