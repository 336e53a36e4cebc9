/** Everything that a process has to release at its end. A part that fails ends the process, and every release runs. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { ReporterFailedError } from '../errors.ts';
import { SECOND } from '../units.ts';

/** A release that takes longer is left alone, so that the next one has its turn before a supervisor kills the process. */
const RELEASE_MS = 15 * SECOND;

export interface Lifetime {
  /** Aborted as soon as the end begins, with the failure if there was one. From then on nothing new may start. */
  ending: AbortSignal;
  /** Resolves to the first error after which a part cannot go on. The process then has to end. */
  failed: Promise<Error>;
  fail(error: unknown): void;
  /** Registers the release of something that was just acquired. */
  onEnd(name: string, release: () => Promise<void> | void, limitMs?: number): void;
  /**
   * Runs every release once, the latest first, after `started` has settled or taken too long. Resolves to false if a
   * release threw or took too long; both are logged.
   */
  end(started?: Promise<unknown>): Promise<boolean>;
}

interface Release {
  name: string;
  release(): unknown;
  limitMs: number;
}

export function createLifetime(log: Logger): Lifetime {
  const ending = new AbortController();
  const failed = Promise.withResolvers<Error>();
  const releases: Release[] = [];
  let ended: Promise<boolean> | null = null;
  let firstFailure: Error | undefined;
  let isHurried = false;
  let isReleasing = false;

  /** Nobody waits long for a process that cannot do its work. */
  function run({ name, release, limitMs }: Release): Promise<boolean> {
    const limit = isHurried ? Math.min(limitMs, RELEASE_MS) : limitMs;
    return releaseInTime({ name, release, limitMs: limit }, log);
  }

  async function runAll(started: Promise<unknown>): Promise<boolean> {
    // A start goes on after a part has failed. It needs the parts it has, so it ends before they are released.
    const release = () => started.catch(() => undefined);
    let isClean = await run({ name: 'start', release, limitMs: RELEASE_MS });
    isReleasing = true;
    for (let next = releases.pop(); next; next = releases.pop()) {
      isClean = (await run(next)) && isClean;
    }
    return isClean;
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
      if (isReleasing) void run({ name, release, limitMs });
      else releases.push({ name, release, limitMs });
    },
    end(started = Promise.resolve()) {
      ending.abort(firstFailure);
      ended ??= runAll(started);
      return ended;
    },
  };
}

async function releaseInTime({ name, release, limitMs }: Release, log: Logger): Promise<boolean> {
  const done = new AbortController();
  const late = sleep(limitMs, 'late', { signal: done.signal }).catch(() => 'late');
  try {
    const outcome = await Promise.race([Promise.resolve(release()), late]);
    if (outcome === 'late') throw new Error(`It did not end within ${limitMs} ms.`);
    return true;
  } catch (err) {
    log.error({ err, part: name }, 'a part was not released; the others are');
    return false;
  } finally {
    done.abort();
  }
}
