/** What /ready says: each part the work needs, and what is wrong with it. */

export interface Readiness {
  status: 'ready' | 'not_ready';
  checks: Record<string, { status: 'ok' } | { status: 'failed'; problem: string }>;
}

/** A check throws an error whose message says what is wrong and what to do. */
export type Checks = Record<string, () => Promise<void>>;

const CACHE_MS = 5_000;
const CHECK_TIMEOUT_MS = 8_000;

/** Runs all checks at once, at most every five seconds, so that a busy prober costs nothing. */
export function createReadiness(checks: Checks, now: () => number): () => Promise<Readiness> {
  let latest: { at: number; readiness: Promise<Readiness> } | null = null;
  return () => {
    if (!latest || now() - latest.at > CACHE_MS) latest = { at: now(), readiness: runChecks(checks) };
    return latest.readiness;
  };
}

async function runChecks(checks: Checks): Promise<Readiness> {
  const results = await Promise.all(
    Object.entries(checks).map(async ([name, check]) => [name, await outcome(check)] as const),
  );
  const ready = results.every(([, { status }]) => status === 'ok');
  return { status: ready ? 'ready' : 'not_ready', checks: Object.fromEntries(results) };
}

async function outcome(check: () => Promise<void>): Promise<Readiness['checks'][string]> {
  let timer: NodeJS.Timeout | undefined;
  try {
    const tooLate = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error('no answer in time')), CHECK_TIMEOUT_MS);
    });
    await Promise.race([check(), tooLate]);
    return { status: 'ok' };
  } catch (error) {
    return { status: 'failed', problem: error instanceof Error ? error.message : String(error) };
  } finally {
    clearTimeout(timer);
  }
}
