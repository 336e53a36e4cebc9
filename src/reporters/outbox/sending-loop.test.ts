import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import { ReporterFailedError, StoreUnavailableError } from '../../errors.ts';
import { failAtCall } from '../../faults/failing-store.fixture.ts';
import { createSqliteStore } from '../../stores/sqlite/sqlite-store.ts';
import { startSendingLoop } from './sending-loop.ts';

it('A thousand changes wake a reporter without a single abort, and it reads the store again after them', async () => {
  const aborts = vi.spyOn(AbortController.prototype, 'abort');
  let change: () => void = () => undefined;
  let looks = 0;
  const loop = startSendingLoop({
    store: {
      watch(listener) {
        change = () => listener('run', false);
        return () => undefined;
      },
    },
    log: { info: () => undefined, warn: () => undefined, error: () => undefined },
    // Only a change ends the rest between two reads of the store.
    async sleep(ms, until) {
      if (ms >= 5_000) await until.due;
    },
    senders: [
      {
        what: 'statuses',
        async sendNext() {
          looks += 1;
          return null;
        },
      },
    ],
  });
  await loop.idle();
  const before = looks;
  for (let i = 0; i < 1_000; i += 1) change();
  await expect.poll(() => looks).toBeGreaterThan(before);
  expect(aborts).not.toHaveBeenCalled();
  aborts.mockRestore();
  await loop.stop();
  const last = looks;
  change();
  await loop.idle();
  expect(looks).toBe(last);
});

const MINUTE = 60_000;

/** Fails for so long, on a clock that runs by itself. Returns the time of the first call of `onFailure`, or null. */
async function failFor(minutes: number, errors: (at: number) => Error): Promise<number | null> {
  const directory = await mkdtemp(path.join(tmpdir(), 'sending-loop-'));
  const sqlite = await createSqliteStore({ directory });
  onTestFinished(async () => {
    await sqlite.close();
    await rm(directory, { recursive: true, force: true });
  });
  let now = 1_000_000;
  let failedAt: number | null = null;
  const over = Promise.withResolvers<void>();
  const startedAt = now;
  const loop = startSendingLoop({
    store: sqlite,
    log: { info: () => undefined, warn: () => undefined, error: () => undefined },
    clock: () => now,
    async sleep(ms) {
      await new Promise(setImmediate);
      now += ms;
      if (now - startedAt > minutes * MINUTE) over.resolve();
    },
    onFailure(error) {
      expect(error).toBeInstanceOf(ReporterFailedError);
      failedAt ??= now - startedAt;
    },
    senders: [
      {
        what: 'statuses',
        async sendNext() {
          const error = errors(now - startedAt);
          await failAtCall(sqlite, 1, { error }).store.unreported('commit-status', 1);
          return null;
        },
      },
    ],
  });
  await over.promise;
  await loop.stop();
  return failedAt;
}

it('A reporter that does nothing but fail because of a defect ends the process after ten minutes', async () => {
  const failedAt = await failFor(20, () => new TypeError('a defect'));
  expect(failedAt).toBeGreaterThanOrEqual(10 * MINUTE);
  expect(failedAt).toBeLessThanOrEqual(11 * MINUTE);
});

it('F12: a reporter whose store is away never ends the process', async () => {
  expect(await failFor(60, () => new StoreUnavailableError('The store is away.'))).toBeNull();
});

it('A reporter that sometimes fails for another reason than its defect never ends the process', async () => {
  const errors = (at: number) =>
    Math.floor(at / MINUTE) % 5 === 0
      ? new StoreUnavailableError('The store is away.')
      : new TypeError('a defect');
  expect(await failFor(60, errors)).toBeNull();
});
