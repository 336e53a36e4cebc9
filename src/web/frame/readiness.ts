/** What /ready says: each part the work needs, and what is wrong with it. */

export interface Readiness {
  /** Degraded: the work is done, but somebody should look. */
  status: 'ready' | 'degraded' | 'not_ready';
  checks: Record<
    string,
    { status: 'ok'; note?: string } | { status: 'degraded' | 'failed'; problem: string }
  >;
}

/** Resolves to a text that says what degrades the work, to a note on what is well, or to anything else. */
type Check = () => Promise<unknown>;

/** A check throws an error whose message says what is wrong and what to do. */
export type Checks = Record<string, Check>;

const CACHE_MS = 5_000;
const CHECK_TIMEOUT_MS = 8_000;

export interface ReadinessProbe {
  /** Runs all checks at once, at most every five seconds, so that a busy prober costs nothing. */
  look(): Promise<Readiness>;
  /** Resolves when no check is under way any more. */
  settled(): Promise<void>;
}

/** A check that does not answer in time goes on: until it ends, it is waited for anew and not begun a second time. */
export function createReadiness(
  checks: Checks,
  now: () => number,
  timeoutMs = CHECK_TIMEOUT_MS,
): ReadinessProbe {
  const underWay = new Map<string, ReturnType<Check>>();
  let latest: { at: number; readiness: Promise<Readiness> } | null = null;

  function begin(name: string, check: Check): ReturnType<Check> {
    const running = Promise.try(check).finally(() => underWay.delete(name));
    underWay.set(name, running);
    return running;
  }

  async function runChecks(): Promise<Readiness> {
    const results = await Promise.all(
      Object.entries(checks).map(async ([name, check]) => {
        const running = underWay.get(name) ?? begin(name, check);
        return [name, await outcome(running, timeoutMs)] as const;
      }),
    );
    const found = new Set(results.map(([, { status }]) => status));
    const status = found.has('failed') ? 'not_ready' : found.has('degraded') ? 'degraded' : 'ready';
    return { status, checks: Object.fromEntries(results) };
  }

  return {
    look() {
      if (!latest || now() - latest.at > CACHE_MS) latest = { at: now(), readiness: runChecks() };
      return latest.readiness;
    },
    async settled() {
      await Promise.allSettled(underWay.values());
    },
  };
}

async function outcome(running: ReturnType<Check>, timeoutMs: number): Promise<Readiness['checks'][string]> {
  let timer: NodeJS.Timeout | undefined;
  try {
    const tooLate = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error('The check did not answer in time.')), timeoutMs);
    });
    const problem = await Promise.race([running, tooLate]);
    if (typeof problem === 'string') return { status: 'degraded', problem };
    return isNote(problem) ? { status: 'ok', note: problem.note } : { status: 'ok' };
  } catch (error) {
    return { status: 'failed', problem: error instanceof Error ? error.message : String(error) };
  } finally {
    clearTimeout(timer);
  }
}

function isNote(value: unknown): value is { note: string } {
  return typeof value === 'object' && value !== null && 'note' in value && typeof value.note === 'string';
}
