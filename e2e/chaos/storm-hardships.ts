/** Faults of the machine: a full disk, and a clock that jumps. */

import { setTimeout as sleep } from 'node:timers/promises';
import { FOLDERS } from '../support/platform-services.ts';
import { until } from '../support/until.ts';
import { endure } from './endure.ts';
import type { StormEvent } from './storm-event.ts';
import { deliver, pushChange, pushTask } from './storm-pushes.ts';
import type { World } from './world.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** A killed server, or a push that the server never received, must not delay the storm. */
const SENT_LIMIT_MS = 10_000;

/** A running task fails when it cannot write its result, and later pushes are refused until there is space. */
async function fillDisk(world: World): Promise<void> {
  const { machine, random, server } = world;
  if (!machine.hasSmallDisk) return;
  await pushTask(world, random.some(Object.keys(FOLDERS), 2));
  const runner = server.current();
  if (runner) server.excuseEnd(runner);
  await endure(world, { kind: 'full disk', what: 'the disk is full' }, async () => {
    machine.fillDisk();
    await deliver(world, await pushChange(world));
    await sleep(random.between(200, 3_000));
    machine.emptyDisk();
  });
  await deliver(world, await pushChange(world));
}

/**
 * The server's clock is off until a commit status was sent, and then right again. It jumps in both directions, and
 * something remembers the wrong time.
 */
async function moveClock(world: World): Promise<void> {
  const { machine, random, stage } = world;
  const offset = random.pick([-DAY_MS, -HOUR_MS, -60_000, 60_000, HOUR_MS, DAY_MS]);
  await endure(world, { kind: 'clock', what: `the clock is off by ${offset / 1_000} s` }, async () => {
    machine.setClockOffset(offset);
    const written = (): number => stage.github.requests.filter(({ status }) => status === 201).length;
    const before = written();
    await deliver(world, await pushChange(world));
    const sent = (): true | null => (written() > before ? true : null);
    await until('a status', sent, { timeoutMs: SENT_LIMIT_MS }).catch(() =>
      world.story.add('no status came'),
    );
    await sleep(random.between(200, 1_500));
    machine.setClockOffset(0);
  });
}

export const hardships: readonly StormEvent[] = [
  { name: 'full disk', weight: 2, happen: fillDisk },
  { name: 'clock', weight: 2, happen: moveClock },
];
