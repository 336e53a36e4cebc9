import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import type { FailedDeliveries } from '../reporters/hook-deliveries.ts';
import type { NewDelivery } from '../runs/delivery.ts';
import { createMissedDeliveries } from './missed-deliveries.ts';

const MINUTE_MS = 60_000;
const START = Date.parse('2026-03-01T12:00:00Z');

function createLooker(answer: () => FailedDeliveries, recordMissed = async (_: readonly NewDelivery[]) => 1) {
  const said: string[] = [];
  const asked: number[] = [];
  const clock = { now: START };
  const log = pino({ level: 'info' }, { write: (line: string) => void said.push(JSON.parse(line).msg) });
  const look = createMissedDeliveries({
    store: { recordMissed },
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
  it('F11: records those of three days, oldest first, with what GitHub got and when', async () => {
    const recorded: NewDelivery[] = [];
    const failed = [
      { deliveryId: 'late', event: 'push', statusCode: 502, deliveredAt: START },
      { deliveryId: 'early', event: 'p<b>ing', statusCode: 0, deliveredAt: START - 1_000 },
    ];
    const { look, said, asked } = createLooker(
      () => ({ kind: 'ok', failed }),
      async (missed) => recorded.push(...missed),
    );
    await look();
    const nothing = { decision: 'missed', runId: null, request: null };
    expect(recorded).toEqual([
      {
        ...nothing,
        deliveryId: 'early',
        event: 'pbing',
        detail: 'GitHub got no answer at 2026-03-01T11:59:59.000Z',
      },
      {
        ...nothing,
        deliveryId: 'late',
        event: 'push',
        detail: 'GitHub got HTTP 502 at 2026-03-01T12:00:00.000Z',
      },
    ]);
    expect(asked).toEqual([START - 3 * 86_400_000]);
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

  it('says once that it may not, and leaves it alone', async () => {
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

  it('survives a store that cannot be written', async () => {
    const failed = [{ deliveryId: 'a', event: 'push', statusCode: 0, deliveredAt: START }];
    const { look, said } = createLooker(
      () => ({ kind: 'ok', failed }),
      () => Promise.reject(new Error('full')),
    );
    await look();
    expect(said).toEqual(['missed deliveries not stored; it is tried again']);
  });
});
