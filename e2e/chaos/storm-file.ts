/** Faults of a store that is a file: another process locks it, or a write to it fails. */

import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { injectFault, noInjection } from '../support/injected-fault.ts';
import { endure } from './endure.ts';
import { SLOW_SERVICE } from './slow-service.ts';
import type { StormEvent } from './storm-event.ts';
import { deliver, pushChange, pushTask } from './storm-pushes.ts';
import { LOCKED_MS, type World } from './world.ts';

/** The outside reader waits this long for the server, in milliseconds. */
const OUTSIDE_PATIENCE_MS = 2_000;

const mayInject = noInjection() === null;

/** Another process locks the database for longer than the lease of a run, as a hanging backup does. */
async function lockStore(world: World): Promise<void> {
  await world.server.up();
  const database = new DatabaseSync(databaseOf(world), { timeout: OUTSIDE_PATIENCE_MS });
  try {
    // The task ends while the store is locked, so the run must wait before it can record its end.
    await pushTask(world, [SLOW_SERVICE]);
    database.exec('BEGIN IMMEDIATE');
    await endure(
      world,
      { kind: 'locked store', what: 'the store is locked for longer than a lease' },
      async () => {
        await deliver(world, await pushChange(world));
        await sleep(LOCKED_MS);
        database.exec('ROLLBACK');
      },
    );
  } catch (error) {
    world.story.add(`the store could not be locked: ${String(error)}`);
  } finally {
    database.close();
  }
}

/**
 * One write to the disk fails. Then somebody reads the database from outside, a push is accepted, and the server is
 * killed. All runs that were acknowledged after the error must still exist.
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
    world.story.add(`no I/O error: ${String(error)}`);
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

/** Reads the database as an operator with sqlite3 does. The last user of a database removes its write-ahead log. */
async function readFromOutside(world: World): Promise<void> {
  const { exitCode, stderr } = await execa('python3', ['-c', READ_FROM_OUTSIDE, databaseOf(world)], {
    reject: false,
    timeout: 10_000,
  });
  const problem = exitCode === 0 ? '' : `, in vain: ${stderr.slice(-200)}`;
  world.story.add(`somebody read the database from outside${problem}`);
}

function databaseOf({ stage }: World): string {
  return join(stage.folder, 'data', 'iac-runner.db');
}

export const fileHardships: readonly StormEvent[] = [
  { name: 'locked store', weight: 1, happen: lockStore },
  { name: 'I/O error', weight: 2, happen: failWrite },
];
