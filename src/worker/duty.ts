/** Does the work that only one of several machines may do: for as long as this machine has the duty. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Loop } from '../loop.ts';
import type { Fleet } from '../runs/fleet.ts';
import { SECOND } from '../units.ts';

const LEASE_MS = 30 * SECOND;
const RENEW_MS = 5 * SECOND;
/** The work ends this long before another machine can start it. */
const MARGIN_MS = 10 * SECOND;

export interface DutyOptions {
  fleet: Pick<Fleet, 'takeDuty' | 'leaveDuty'>;
  duty: string;
  owner: string;
  /** Starts the work. Resolves to the function that ends it. */
  start(): Promise<() => Promise<void>>;
  log: Logger;
  /** For tests. Default 30 s. */
  leaseMs?: number;
}

/** `stop` ends the work and gives the duty to the next machine. A loop that breaks ends the process, and so the duty. */
export function startDuty(options: DutyOptions): Loop {
  const { fleet, duty, owner, log, leaseMs = LEASE_MS } = options;
  const pauseMs = Math.min(RENEW_MS, leaseMs / 6);
  const ending = new AbortController();
  const { signal } = ending;
  const asker = createAsker(options, leaseMs);
  let end: (() => Promise<void>) | null = null;

  async function stopWork(): Promise<void> {
    const work = end;
    end = null;
    await work?.();
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      const pause = sleep(pauseMs, undefined, { signal, ref: false }).catch(() => undefined);
      // The answer may take longer than the lease: while the outcome of a commit is unknown, for example.
      await Promise.race([asker.ask(), pause]);
      const isOurs = asker.isOurs();
      if (isOurs && end === null && !signal.aborted) {
        log.info({ duty }, 'this machine has the duty now');
        end = await options.start().catch((err: unknown) => {
          log.error({ err, duty }, 'the work of the duty could not be started; it is tried again');
          return null;
        });
      } else if (!isOurs && end !== null) {
        log.warn({ duty }, 'another machine may have the duty now');
        await stopWork();
      }
      await pause;
    }
    await stopWork();
    const releasing = asker.answered().then(() => fleet.leaveDuty(duty, owner));
    // A duty that is not released ends with its lease.
    await Promise.race([releasing.catch(() => undefined), sleep(pauseMs, undefined, { ref: false })]);
  }

  const running = run();
  return {
    stop() {
      ending.abort();
      return running;
    },
  };
}

/** Asks for the duty, one question at a time, and notes until when this machine has it. */
function createAsker({ fleet, duty, owner, log }: DutyOptions, leaseMs: number) {
  const marginMs = Math.min(MARGIN_MS, leaseMs / 3);
  let heldUntilMs = 0;
  let asking: Promise<void> | null = null;

  async function ask(): Promise<void> {
    const askedAtMs = performance.now();
    try {
      const isHeld = await fleet.takeDuty(duty, owner, leaseMs);
      heldUntilMs = isHeld ? askedAtMs + leaseMs - marginMs : 0;
    } catch (err) {
      log.debug({ err, duty }, 'the duty could not be asked for');
    }
    asking = null;
  }

  return {
    ask(): Promise<void> {
      asking ??= ask();
      return asking;
    },
    answered: async () => asking,
    isOurs: () => performance.now() < heldUntilMs,
  };
}
