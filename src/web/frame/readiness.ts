/** The answer of /ready: the state of each part that the work needs. */

import { SECOND } from '../../units.ts';

type CheckOutcome = { status: 'ok'; note?: string } | { status: 'degraded' | 'failed'; problem: string };

export interface Readiness {
  /** Degraded: the work is done, but somebody should look. */
  status: 'ready' | 'degraded' | 'not_ready';
  checks: Record<string, CheckOutcome>;
}

/**
 * A part has failed when its check throws; the message of the error says what is wrong and what to do. It is degraded
 * when the check resolves to a text that says why. It is ok when the check resolves to a note or anything else.
 */
type Check = () => Promise<unknown>;
export type Checks = Record<string, Check>;

const CACHE_MS = 5 * SECOND;
const CHECK_TIMEOUT_MS = 8 * SECOND;

export interface ReadinessProbe {
  /** Runs all checks at once, at most every five seconds, so that frequent requests cost nothing. */
  look(): Promise<Readiness>;
  /** Resolves when all checks have ended. */
  settled(): Promise<void>;
}

/** A check that takes too long goes on. Until it ends, later looks wait for it and do not start it a second time. */
export function createReadiness(
  checks: Checks,
  now: () => number,
  timeoutMs = CHECK_TIMEOUT_MS,
): ReadinessProbe {
  const underWay = new Map<string, ReturnType<Check>>();
  let latest: { at: number; readiness: Promise<Readiness> } | null = null;

  function start(name: string, check: Check): ReturnType<Check> {
    const running = Promise.try(check).finally(() => underWay.delete(name));
    underWay.set(name, running);
    return running;
  }

  async function runChecks(): Promise<Readiness> {
    const results = await Promise.all(
      Object.entries(checks).map(async ([name, check]) => {
        const running = underWay.get(name) ?? start(name, check);
        return [name, await outcomeOf(running, timeoutMs)] as const;
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

async function outcomeOf(running: ReturnType<Check>, timeoutMs: number): Promise<CheckOutcome> {
  let timer: NodeJS.Timeout | undefined;
  try {
    const tooLate = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error('The check did not answer in time.')), timeoutMs);
    });
    const found = await Promise.race([running, tooLate]);
    if (typeof found === 'string') return { status: 'degraded', problem: found };
    return isNote(found) ? { status: 'ok', note: found.note } : { status: 'ok' };
  } catch (error) {
    return { status: 'failed', problem: error instanceof Error ? error.message : String(error) };
  } finally {
    clearTimeout(timer);
  }
}

function isNote(value: unknown): value is { note: string } {
  return typeof value === 'object' && value !== null && 'note' in value && typeof value.note === 'string';
}
