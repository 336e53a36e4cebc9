/** What only one of several machines may do: begun when the role is ours, ended when it is not any more. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Fleet } from '../runs/fleet.ts';
import { SECOND } from '../units.ts';

const LEASE_MS = 30 * SECOND;
const RENEW_MS = 5 * SECOND;
/** Ended so long before anybody else can begin. */
const MARGIN_MS = 10 * SECOND;

export interface RoleOptions {
  fleet: Pick<Fleet, 'hold' | 'release'>;
  role: string;
  owner: string;
  /** Begins the work; resolves to what ends it. */
  begin(): Promise<() => Promise<void>>;
  log: Logger;
  /** For tests. Default 30 s. */
  leaseMs?: number;
}

/** `stop` ends the work and gives the role to the next. A loop that breaks ends the process, which gives it up, too. */
export function startRole(options: RoleOptions): { stop(): Promise<void> } {
  const { fleet, role, owner, log, leaseMs = LEASE_MS } = options;
  const pauseMs = Math.min(RENEW_MS, leaseMs / 6);
  const marginMs = Math.min(MARGIN_MS, leaseMs / 3);
  const ending = new AbortController();
  let end: (() => Promise<void>) | null = null;
  let heldUntilMs = 0;

  async function ask(): Promise<void> {
    const askedAtMs = performance.now();
    try {
      if (await fleet.hold(role, owner, leaseMs)) heldUntilMs = askedAtMs + leaseMs - marginMs;
      else heldUntilMs = 0;
    } catch (err) {
      log.debug({ err, role }, 'the role could not be asked for');
    }
  }

  async function stopWork(): Promise<void> {
    const work = end;
    end = null;
    await work?.();
  }

  async function run(): Promise<void> {
    while (!ending.signal.aborted) {
      await ask();
      const isOurs = performance.now() < heldUntilMs;
      if (isOurs && end === null && !ending.signal.aborted) {
        log.info({ role }, 'this machine has the role now');
        end = await options.begin().catch((err: unknown) => {
          log.error({ err, role }, 'the work of the role could not be begun; it is tried again');
          return null;
        });
      } else if (!isOurs && end !== null) {
        log.warn({ role }, 'another machine may have the role now');
        await stopWork();
      }
      await sleep(pauseMs, undefined, { signal: ending.signal, ref: false }).catch(() => undefined);
    }
    await stopWork();
    await fleet.release(role, owner).catch(() => undefined);
  }

  const running = run();
  return {
    stop() {
      ending.abort();
      return running;
    },
  };
}
