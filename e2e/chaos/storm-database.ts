/** Faults of a store in PostgreSQL: another session locks a table, or the database is killed or paused. */

import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { endure } from './endure.ts';
import { SLOW_SERVICE } from './slow-service.ts';
import type { StormEvent } from './storm-event.ts';
import { deliver, pushChange, pushTask } from './storm-pushes.ts';
import { type Database, LOCKED_MS, type World } from './world.ts';

/** Another session blocks writes to the runs for longer than a lease, as the creation of an index does. */
async function lockTable(world: World, { url }: Database): Promise<void> {
  await world.server.up();
  const client = new Client({ connectionString: url });
  // The connection breaks when another hardship kills the database.
  client.on('error', () => undefined);
  try {
    await client.connect();
    await pushTask(world, [SLOW_SERVICE]);
    await client.query('BEGIN; LOCK TABLE iac_runner.runs IN SHARE MODE');
    const what = 'a table of the store is locked for longer than a lease';
    await endure(world, { kind: 'locked store', what }, async () => {
      await deliver(world, await pushChange(world));
      await sleep(LOCKED_MS);
      await client.query('ROLLBACK');
    });
  } catch (error) {
    world.story.add(`the table could not be locked: ${String(error)}`);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Everything that was answered 200 before the kill must exist after it. */
async function killDatabase(world: World, { server }: Database): Promise<void> {
  const { random } = world;
  await world.server.up();
  const runner = world.server.current();
  if (runner) world.server.excuseEnd(runner);
  const answers = [deliver(world, await pushChange(world)), deliver(world, await pushChange(world))];
  await sleep(random.between(0, 40));
  await endure(world, { kind: 'killed database', what: 'the database is killed' }, async () => {
    await server.kill();
    try {
      await Promise.all(answers);
      await sleep(random.between(0, 3_000));
    } finally {
      await server.start();
    }
  });
  await world.server.revive(0);
  await deliver(world, await pushChange(world));
}

/** The host of the database is paused for longer than a lease, and then continues where it was. */
async function stallDatabase(world: World, { server }: Database): Promise<void> {
  await world.server.up();
  const runner = world.server.current();
  if (runner) world.server.excuseEnd(runner);
  await pushTask(world, [SLOW_SERVICE]);
  await endure(world, { kind: 'stalled database', what: 'the database stands still' }, async () => {
    server.signal('SIGSTOP');
    try {
      await deliver(world, await pushChange(world));
      await sleep(LOCKED_MS);
    } finally {
      server.signal('SIGCONT');
    }
  });
  await world.server.revive(0);
}

/** Runs one hardship at a time, because a killed database cannot be paused as well. */
function inTurn(happen: (world: World, database: Database) => Promise<void>): StormEvent['happen'] {
  return (world) => {
    const { database } = world;
    if (database === null) throw new Error('The store of this storm is a file.');
    return world.inDatabase(() => happen(world, database));
  };
}

export const databaseHardships: readonly StormEvent[] = [
  { name: 'locked table', weight: 1, happen: inTurn(lockTable) },
  { name: 'killed database', weight: 3, happen: inTurn(killDatabase) },
  { name: 'stalled database', weight: 1, happen: inTurn(stallDatabase) },
];
