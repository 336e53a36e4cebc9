/** What goes wrong with the machine: a locked store, an I/O error, a full disk, and a clock that jumps. */

import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { injectFault, noInjection } from '../support/injected-fault.ts';
import { FOLDERS } from '../support/platform-services.ts';
import { until } from '../support/until.ts';
import { type Hardship, nowNs } from './facts.ts';
import type { StormEvent } from './storm-event.ts';
import { deliver, pushChange, pushTask } from './storm-pushes.ts';
import { LEASE_SECONDS, SLOW_SERVICE, type World } from './world.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** The outside reader waits so long for the server, in milliseconds. */
const OUTSIDE_PATIENCE_MS = 2_000;

/** A lease, and the time that the slow task still takes. */
const LOCKED_MS = (LEASE_SECONDS + 6) * 1_000;

/** A killed server, or a push that nobody was told of, must not hold the storm up. */
const SENT_LIMIT_MS = 10_000;

const mayInject = noInjection() === null;

/** Writes down that the hardship lasts as long as `work`. */
async function endure(
  { facts, story }: World,
  { kind, what }: { kind: Hardship['kind']; what: string },
  work: () => Promise<void>,
): Promise<void> {
  const hardship: Hardship = { kind, fromNs: nowNs(), untilNs: null };
  facts.hardships.push(hardship);
  story.tell(what);
  try {
    await work();
  } finally {
    hardship.untilNs = nowNs();
    story.tell(`over: ${what}`);
  }
}

/** Somebody else holds the database for longer than the lease of a run, as a backup that hangs does. */
async function lockStore(world: World): Promise<void> {
  await world.server.up();
  const database = new DatabaseSync(databaseOf(world), { timeout: OUTSIDE_PATIENCE_MS });
  try {
    // The task ends while the store is locked, and so the run has to wait with its last words.
    await pushTask(world, [SLOW_SERVICE]);
    database.exec('BEGIN IMMEDIATE');
    const what = `the store is locked for longer than a lease of ${LEASE_SECONDS} s`;
    await endure(world, { kind: 'locked store', what }, async () => {
      await deliver(world, await pushChange(world));
      await sleep(LOCKED_MS);
      database.exec('ROLLBACK');
    });
  } catch (error) {
    world.story.tell(`the store could not be locked: ${String(error)}`);
  } finally {
    database.close();
  }
}

/**
 * One write to the disk fails. Then somebody reads the database from outside, a push is accepted, and the server is
 * killed: what was acknowledged after the error must be there.
 */
async function failWrite(world: World): Promise<void> {
  await world.server.up();
  const runner = world.server.current();
  if (!runner || !mayInject) return;
  const how = world.random.pick(['fdatasync,fsync:error=EIO:when=1', 'pwrite64:error=EIO:when=1']);
  world.server.excuseEnd(runner);
  try {
    const fault = await injectFault(runner.pid, how);
    await endure(world, { kind: 'I/O error', what: `an I/O error: ${how}` }, async () => {
      await deliver(world, await pushChange(world));
      await fault.stop();
    });
  } catch (error) {
    world.story.tell(`no I/O error: ${String(error)}`);
  }
  await world.server.revive(0);
  // The first write after the error opens the database again.
  await deliver(world, await pushChange(world));
  await readFromOutside(world);
  await deliver(world, await pushChange(world));
  world.server.hit('SIGKILL');
  await world.server.revive(0);
}

const READ_FROM_OUTSIDE = `
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=2)
database.execute("SELECT count(*) FROM runs").fetchone()
database.close()
`;

/** As an operator with sqlite3 does. The last user of a database removes its write-ahead log when it closes it. */
async function readFromOutside(world: World): Promise<void> {
  const { exitCode, stderr } = await execa('python3', ['-c', READ_FROM_OUTSIDE, databaseOf(world)], {
    reject: false,
    timeout: 10_000,
  });
  const problem = exitCode === 0 ? '' : `, in vain: ${stderr.slice(-200)}`;
  world.story.tell(`somebody read the database from outside${problem}`);
}

/** A task that has started fails when it cannot write what it did; what comes then is refused until there is room. */
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
 * The server's clock is off until a commit status was sent, and then right again, so that it jumps in both directions
 * and something remembers the wrong time.
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
      world.story.tell('no status came'),
    );
    await sleep(random.between(200, 1_500));
    machine.setClockOffset(0);
  });
}

function databaseOf({ stage }: World): string {
  return join(stage.folder, 'data', 'iac-runner.db');
}

export const hardships: readonly StormEvent[] = [
  { name: 'locked store', weight: 1, happen: lockStore },
  { name: 'I/O error', weight: 2, happen: failWrite },
  { name: 'full disk', weight: 2, happen: fillDisk },
  { name: 'clock', weight: 2, happen: moveClock },
];
