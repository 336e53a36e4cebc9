import { pino } from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Fleet } from '../runs/fleet.ts';
import { startPostgres, withoutPostgres } from '../stores/postgres/postgres-server.fixture.ts';
import { createPostgresStore } from '../stores/postgres/postgres-store.ts';
import { startDuty } from './duty.ts';

const log = pino({ level: 'silent' });

/** One duty, leased by the clock; `isReachable` false makes every request fail. */
function createLeases() {
  let holder: { owner: string; until: number } | null = null;
  const leases = {
    isReachable: { a: true, b: true } as Record<string, boolean>,
    async takeDuty(_duty: string, owner: string, leaseMs: number): Promise<boolean> {
      if (!leases.isReachable[owner]) throw new Error('not reached');
      const now = performance.now();
      if (holder !== null && holder.owner !== owner && holder.until > now) return false;
      holder = { owner, until: now + leaseMs };
      return true;
    },
    async leaveDuty(_duty: string, owner: string): Promise<void> {
      if (holder?.owner === owner) holder = null;
    },
  };
  return leases satisfies Pick<Fleet, 'takeDuty' | 'leaveDuty'>;
}

describe('A duty', () => {
  it('is one machine’s at a time, and falls to the next when its holder stops or is cut off', async () => {
    const fleet = createLeases();
    const working = new Set<string>();
    let most = 0;
    const start = (owner: string) =>
      startDuty({
        fleet,
        owner,
        log,
        duty: 'tell',
        leaseMs: 600,
        async start() {
          working.add(owner);
          most = Math.max(most, working.size);
          return async () => void working.delete(owner);
        },
      });
    const a = start('a');
    await expect.poll(() => [...working]).toEqual(['a']);
    const b = start('b');
    fleet.isReachable.a = false;
    await expect.poll(() => [...working]).toEqual(['b']);
    fleet.isReachable.a = true;
    await b.stop();
    await expect.poll(() => [...working]).toEqual(['a']);
    await a.stop();
    expect([...working]).toEqual([]);
    expect(most).toBe(1);
  });

  it('whose work cannot be started is tried again', async () => {
    let tries = 0;
    const duty = startDuty({
      fleet: createLeases(),
      owner: 'a',
      log,
      duty: 'look',
      leaseMs: 120,
      async start() {
        tries += 1;
        if (tries < 3) throw new Error('Not yet.');
        return async () => undefined;
      },
    });
    await expect.poll(() => tries).toBe(3);
    await duty.stop();
  });

  it.skipIf(withoutPostgres !== null)(
    'ends its work in time while the database does not answer',
    async () => {
      const server = await startPostgres();
      onTestFinished(() => server.remove());
      const store = await createPostgresStore({ url: await server.createDatabase() });
      onTestFinished(() => store.close());
      let isWorking = false;
      const duty = startDuty({
        fleet: store.fleet,
        owner: 'a',
        log,
        duty: 'send',
        leaseMs: 1_500,
        async start() {
          isWorking = true;
          return async () => {
            isWorking = false;
          };
        },
      });
      await expect.poll(() => isWorking).toBe(true);
      server.signal('SIGSTOP');
      await expect.poll(() => isWorking, { timeout: 1_500 }).toBe(false);
      server.signal('SIGCONT');
      await expect.poll(() => isWorking, { timeout: 10_000 }).toBe(true);
      await duty.stop();
      expect(isWorking).toBe(false);
    },
  );
});
