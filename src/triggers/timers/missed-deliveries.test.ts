import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { failAtCall } from '../../faults/failing-store.fixture.ts';
import type { FailedDeliveries } from '../../github/hook-deliveries.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { createSqliteStore } from '../../stores/sqlite/sqlite-store.ts';
import { createMissedDeliveries } from './missed-deliveries.ts';

const MINUTE_MS = 60_000;
const START = Date.parse('2026-03-01T12:00:00Z');

let directory: string;
let store: RunStore;

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'iac-missed-'));
  store = await createSqliteStore({ directory });
});
afterEach(async () => {
  await store.close();
  await rm(directory, { recursive: true });
});

function createLooker(answer: () => FailedDeliveries, seen: RunStore = store) {
  const said: string[] = [];
  const asked: number[] = [];
  const clock = { now: START };
  const log = pino({ level: 'info' }, { write: (line: string) => void said.push(JSON.parse(line).msg) });
  const look = createMissedDeliveries({
    store: seen,
    failedDeliveries: async (since) => {
      asked.push(since);
      return answer();
    },
    now: () => clock.now,
    log,
  });
  return { look, said, asked, clock };
}

describe('Looking for missed deliveries', () => {
  it('F11: records those of the last three days, oldest first, each once, with the answer that GitHub got and its time', async () => {
    const failed = [
      { deliveryId: 'late', event: 'push', statusCode: 502, deliveredAt: START },
      { deliveryId: 'early', event: 'p<b>ing', statusCode: 0, deliveredAt: START - 1_000 },
    ];
    const { look, said, asked, clock } = createLooker(() => ({ kind: 'ok', failed }));
    await look();
    clock.now += 10 * MINUTE_MS;
    await look();
    const nothing = { decision: 'missed', runId: null };
    // The newest comes first.
    expect(await store.deliveries({ limit: 10 })).toMatchObject([
      {
        ...nothing,
        deliveryId: 'late',
        event: 'push',
        detail: 'GitHub got HTTP 502 at 2026-03-01T12:00:00.000Z',
      },
      {
        ...nothing,
        deliveryId: 'early',
        event: 'pbing',
        detail: 'GitHub got no answer at 2026-03-01T11:59:59.000Z',
      },
    ]);
    expect(asked[0]).toBe(START - 3 * 86_400_000);
    expect(said).toEqual(['deliveries were missed']);
  });

  it('asks GitHub at most every ten minutes', async () => {
    const { look, asked, clock } = createLooker(() => ({ kind: 'ok', failed: [] }));
    for (let minute = 0; minute <= 20; minute += 1) {
      await look();
      clock.now += MINUTE_MS;
    }
    expect(asked).toHaveLength(3);
  });

  it('logs once that the token may not read deliveries, and does not ask again', async () => {
    const { look, said, asked, clock } = createLooker(() => ({ kind: 'not_allowed', problem: 'HTTP 404' }));
    for (let hour = 0; hour < 3; hour += 1) {
      await look();
      clock.now += 60 * MINUTE_MS;
    }
    expect(asked).toHaveLength(1);
    expect(said).toEqual(['missed deliveries are not looked for: the token may not read webhooks']);
  });

  it.each<FailedDeliveries>([{ kind: 'unavailable', problem: 'HTTP 500' }, { kind: 'no_hook' }])(
    'asks again after %o, and says it once',
    async (answer) => {
      const { look, said, asked, clock } = createLooker(() => answer);
      for (let hour = 0; hour < 3; hour += 1) {
        await look();
        clock.now += 60 * MINUTE_MS;
      }
      expect(asked).toHaveLength(3);
      expect(said).toHaveLength(1);
    },
  );

  it('survives a store that cannot be written, and records them the next time', async () => {
    const failed = [{ deliveryId: 'a', event: 'push', statusCode: 0, deliveredAt: START }];
    const failing = failAtCall(store, 1);
    const { look, said, clock } = createLooker(() => ({ kind: 'ok', failed }), failing.store);
    await look();
    expect(said).toEqual(['missed deliveries not stored; it is tried again']);
    expect(await store.deliveries({ limit: 10 })).toEqual([]);
    clock.now += 10 * MINUTE_MS;
    await look();
    expect(await store.deliveries({ limit: 10 })).toMatchObject([{ deliveryId: 'a', decision: 'missed' }]);
  });
});
