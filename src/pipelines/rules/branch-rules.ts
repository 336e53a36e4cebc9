/** Names the services of a push by the last known rules of the branch, for answers that cannot wait for a run. */

import type { Mirror } from '../../git/own/mirror.ts';
import { SECOND } from '../../units.ts';
import { servicesNamedBy } from '../selection/touched-paths.ts';
import { loadRules } from './load-rules.ts';
import { bookOf } from './rule-book.ts';
import { DEFAULT_RULES, RULES_FILE, type Rules, type Service } from './service-rules.ts';
import { snapshotAt } from './snapshot.ts';

/** GitHub gives up after ten seconds. */
const WAIT_MS = 4 * SECOND;

interface PushedPaths {
  paths: readonly string[];
  /** The head of the branch before the push, from the payload, or null. */
  before?: string | null;
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

/** The rules and the services at a head. Without `services`, the rules alone tell the service of every path. */
interface Layout {
  head: string;
  rules: Rules;
  services: readonly Service[];
}

export function createBranchRules(options: {
  mirror: Mirror;
  /** The text of the branch's last good rules file. */
  lastGoodRules(): Promise<string | null>;
  environment: string | null;
  /** How long a push waits for the first fetch. Default 4 s. */
  waitMs?: number;
  /** For how long the head is remembered, so that a flood of pushes does not read it as often. Default: not at all. */
  rememberMs?: number;
}): BranchRules {
  const { mirror, lastGoodRules, environment, waitMs = WAIT_MS, rememberMs = 0 } = options;
  const readHead = createHeadReader(mirror, rememberMs);
  let last: Layout | null = null;
  /** The head whose rules a push has replaced. The new rules are unknown until the next fetch. */
  let replacedAt: string | null = null;

  async function layoutAt(head: string): Promise<Layout> {
    if (last?.head !== head) {
      const { rules } = await loadRules(mirror, head, await lastGoodRules(), environment);
      const isEnough = bookOf(rules).isPathEnough;
      const services = isEnough ? [] : (await snapshotAt({ repository: mirror, rules }, head)).claimed;
      last = { head, rules, services };
    }
    return last;
  }

  async function look({ paths, before = null, after }: PushedPaths): Promise<NamedServices> {
    const head = await readHead();
    if (head === null) return unsure(paths, last);
    if (head !== after && paths.includes(RULES_FILE)) replacedAt = head;
    const layout = await layoutAt(head);
    return head === replacedAt || paths.includes(RULES_FILE)
      ? unsure(paths, layout)
      : {
          services: servicesNamedBy(paths, layout.rules, layout.services),
          // A commit that was not fetched yet may have added services that only the repository tells.
          isSure: bookOf(layout.rules).isPathEnough || before === null || [before, after].includes(head),
        };
  }

  return {
    async namedBy(push) {
      const { promise, resolve } = Promise.withResolvers<NamedServices>();
      const timer = setTimeout(() => resolve(unsure(push.paths, last)), waitMs);
      look(push).then(resolve, () => resolve(unsure(push.paths, last)));
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

function unsure(paths: readonly string[], layout: Layout | null): NamedServices {
  const services = servicesNamedBy(paths, layout?.rules ?? DEFAULT_RULES, layout?.services);
  return { services, isSure: false };
}
