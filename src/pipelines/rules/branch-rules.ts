/** Names the services of a push by the last known rules of the branch, for answers that cannot wait for a run. */

import type { Mirror } from '../../git/own/mirror.ts';
import { SECOND } from '../../units.ts';
import { servicesNamedBy } from '../selection/touched-paths.ts';
import { loadRules } from './load-rules.ts';
import { DEFAULT_RULES, RULES_FILE, type Rules } from './service-rules.ts';

/** GitHub gives up after ten seconds. */
const WAIT_MS = 4 * SECOND;

interface PushedPaths {
  paths: readonly string[];
  /** The pushed commit, from the payload. */
  after: string;
}

interface NamedServices {
  /** Sorted, with `__all__` if a shared path changed. */
  services: string[];
  /** False if other rules may hold for the push, so that only a run can be sure. */
  isSure: boolean;
}

interface BranchRules {
  /** Resolves to the services that a push names. Never throws, and answers within seconds. */
  namedBy(push: PushedPaths): Promise<NamedServices>;
}

export function createBranchRules(options: {
  mirror: Mirror;
  /** The text of the branch's last good rules file. */
  lastGoodRules(): Promise<string | null>;
  /** How long a push waits for the first fetch. Default 4 s. */
  waitMs?: number;
  /** For how long the head is remembered, so that a flood of pushes does not read it as often. Default: not at all. */
  rememberMs?: number;
}): BranchRules {
  const { mirror, lastGoodRules, waitMs = WAIT_MS, rememberMs = 0 } = options;
  const readHead = createHeadReader(mirror, rememberMs);
  let last: { head: string; rules: Rules } | null = null;
  /** The head whose rules a push has replaced. The new rules are unknown until the next fetch. */
  let replacedAt: string | null = null;

  async function rulesAt(head: string): Promise<Rules> {
    if (last?.head !== head) {
      const { rules } = await loadRules(mirror, head, await lastGoodRules());
      last = { head, rules };
    }
    return last.rules;
  }

  async function look({ paths, after }: PushedPaths): Promise<NamedServices> {
    const head = await readHead();
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

/** Returns a function that reads the head of the branch, and fetches the branch if it has no head yet. */
function createHeadReader(mirror: Mirror, rememberMs: number): () => Promise<string | null> {
  let known: { head: Promise<string | null>; until: number } | null = null;
  let fetching: Promise<string | null> | null = null;

  /** All callers share one fetch. */
  function fetchHead(): Promise<string | null> {
    fetching ??= mirror
      .fetch()
      .then(({ head }) => head)
      .finally(() => {
        fetching = null;
      });
    return fetching;
  }

  return async () => {
    const now = performance.now();
    if (known === null || known.until <= now) known = { head: mirror.head(), until: now + rememberMs };
    const head = await known.head;
    if (head !== null) return head;
    // The fetch sets the head, so the next push has to read it again.
    known = null;
    return fetchHead();
  };
}

function unsure(paths: readonly string[], rules: Rules = DEFAULT_RULES): NamedServices {
  return { services: servicesNamedBy(paths, rules), isSure: false };
}
