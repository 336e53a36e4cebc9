/** What a process holds until it ends: a part that fails ends all of them, and every release runs. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { ReporterFailedError } from '../errors.ts';
import { SECOND } from '../units.ts';

/** A release that takes longer is left alone, so that the next one has its turn before a supervisor kills us. */
const RELEASE_MS = 15 * SECOND;

export interface Lifetime {
  /** Aborted as soon as the end begins, with the failure if there was one: from then on nothing new may start. */
  ending: AbortSignal;
  /** Resolves to the first error that a part cannot go on after. The process then has to end. */
  failed: Promise<Error>;
  fail(error: unknown): void;
  /** Registers the release of something that was just acquired. */
  onEnd(name: string, release: () => Promise<void> | void, limitMs?: number): void;
  /**
   * Runs every release once, the latest first, when `started` has settled, which is not waited for too long. False when
   * a release threw or took too long; both are logged.
   */
  end(started?: Promise<unknown>): Promise<boolean>;
}

interface Release {
  name: string;
  release(): Promise<void> | void;
  limitMs: number;
}

export function createLifetime(log: Logger): Lifetime {
  const ending = new AbortController();
  const failed = Promise.withResolvers<Error>();
  const releases: Release[] = [];
  let ended: Promise<boolean> | null = null;
  let firstFailure: Error | undefined;
  let isHurried = false;
  /** The releases run, or have run. */
  let hasBegun = false;

  async function runAll(started: Promise<unknown>): Promise<boolean> {
    // A start goes on after a part has failed. It needs the parts it has, and what it still acquires goes before them.
    const release = () =>
      started.then(
        () => undefined,
        () => undefined,
      );
    let isClean = await run({ name: 'start', release, limitMs: RELEASE_MS });
    hasBegun = true;
    for (let next = releases.pop(); next; next = releases.pop()) {
      isClean = (await run(next)) && isClean;
    }
    return isClean;
  }

  async function run({ name, release, limitMs }: Release): Promise<boolean> {
    const done = new AbortController();
    // Nobody waits long for a process that cannot do its work.
    const limit = isHurried ? Math.min(limitMs, RELEASE_MS) : limitMs;
    const late = sleep(limit, 'late', { signal: done.signal }).catch(() => 'late');
    try {
      const outcome = await Promise.race([Promise.resolve(release()), late]);
      if (outcome === 'late') throw new Error(`It did not end within ${limit} ms.`);
      return true;
    } catch (err) {
      log.error({ err, part: name }, 'a part was not released; the others are');
      return false;
    } finally {
      done.abort();
    }
  }

  return {
    ending: ending.signal,
    failed: failed.promise,
    fail(error) {
      const failure = error instanceof Error ? error : new Error(String(error));
      firstFailure ??= failure;
      isHurried ||= !(failure instanceof ReporterFailedError);
      failed.resolve(failure);
    },
    onEnd(name, release, limitMs = RELEASE_MS) {
      if (hasBegun) void run({ name, release, limitMs });
      else releases.push({ name, release, limitMs });
    },
    end(started = Promise.resolve()) {
      ending.abort(firstFailure);
      ended ??= runAll(started);
      return ended;
    },
  };
}
