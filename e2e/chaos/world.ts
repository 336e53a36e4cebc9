/** The stage of a chaos run: the platform, its server, and the records about them. */

import type { PostgresServer } from '../../src/stores/postgres/postgres-server.fixture.ts';
import type { Journal } from '../support/journal.ts';
import { commitChange, writeRecordedService } from '../support/platform-services.ts';
import { type Stage, setStage } from '../support/stage.ts';
import { removeFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';
import { configureEnvironments, type EnvironmentName, openJournals } from './environments.ts';
import { createFacts, type Facts } from './facts.ts';
import { createMachine, type Machine } from './machine.ts';
import { createProductionFacts, type ProductionFacts } from './production-facts.ts';
import type { Random } from './random.ts';
import { keepServer, type ServerKeeper } from './server-keeper.ts';
import { SLOW_FOLDER, SLOW_SERVICE, SLOW_TASK } from './slow-service.ts';
import type { Story } from './story.ts';

/** The shortest possible lease, so that a storm can last longer. */
const LEASE_SECONDS = 10;

/**
 * A lock on the store lasts longer than a lease and the 4 seconds of the slow task together. So if the task runs
 * meanwhile, its run has to wait for longer than a lease before it can store its end.
 */
export const LOCKED_MS = (LEASE_SECONDS + 6) * 1_000;

/** The database of a PostgreSQL server that belongs to this run. */
export interface Database {
  server: PostgresServer;
  url: string;
}

export interface World {
  stage: Stage;
  /** What the tasks of each environment write. */
  journals: Record<EnvironmentName, Journal>;
  random: Random;
  story: Story;
  facts: Facts;
  production: ProductionFacts;
  server: ServerKeeper;
  machine: Machine;
  /** The database server that holds the store, or null if the store is a file. */
  database: Database | null;
  /** Sets the interval for later starts. With 0, servers look at the branch only when they start. */
  setReconcileInterval(seconds: number): void;
  /** The interval of the server that was started last. */
  reconcileInterval(): number;
  /** Runs work in the clone, one piece at a time. */
  inRepository<T>(work: () => Promise<T>): Promise<T>;
  /** Runs work on the database server, one piece at a time. */
  inDatabase<T>(work: () => Promise<T>): Promise<T>;
  /** Ends everything that was started. With `keep`, all files stay for inspection. */
  close(keep: boolean): Promise<void>;
}

export interface WorldOptions {
  invoke: readonly string[];
  /** The argv of the server. */
  program: readonly string[];
  database: Database | null;
  random: Random;
  story: Story;
}

/** Resolves when the first server has looked at the branch. */
export async function createWorld({
  invoke,
  program,
  database,
  random,
  story,
}: WorldOptions): Promise<World> {
  const stage = await setStage({ name: 'chaos', invoke });
  const machine = createMachine(stage.folder);
  try {
    const { repository } = stage;
    await writeRecordedService(repository, SLOW_FOLDER, SLOW_TASK);
    await repository.write(`${SLOW_FOLDER}/compose.yaml`, 'services: {}\n');
    const baseline = await repository.commit('Add a slow service');
    await repository.push();
    const facts = createFacts(baseline);
    const configuration = await configureEnvironments(stage);
    let interval = 1;
    let startedWith = interval;
    const environment = () => {
      startedWith = interval;
      return {
        RECONCILE_INTERVAL: `${interval}`,
        IAC_EXAMPLE_SLEEP_MS: '5-300',
        DRAIN_TIMEOUT: '1',
        // The server is killed often, which is not the fault of its runs.
        RETRY_LIMIT: '1000',
        LEASE_SECONDS: `${LEASE_SECONDS}`,
        // The disk of a storm is small.
        DISK_FLOOR_MB: '4',
        LOG_LEVEL: 'info',
        ...configuration,
        ...machine.environment,
        ...(database === null ? {} : { STORE_URL: database.url }),
      };
    };
    const server = keepServer({ stage, facts, story, program, environment });
    const first = await server.revive(0);
    await until('the branch to be met', () =>
      first.logs().find(({ msg }) => String(msg).startsWith('the branch is seen for the first time')),
    );
    return {
      stage,
      journals: openJournals(stage),
      random,
      story,
      facts,
      production: createProductionFacts(),
      server,
      machine,
      database,
      setReconcileInterval(seconds) {
        interval = seconds;
      },
      reconcileInterval: () => startedWith,
      inRepository: createTurn(),
      inDatabase: createTurn(),
      async close(keep) {
        server.dismiss();
        await stage.close({ keep: true });
        machine.close(keep);
        if (!keep) await removeFolder(stage.folder);
      },
    };
  } catch (error) {
    await stage.close({ keep: true });
    machine.close(true);
    throw error;
  }
}

/** Returns a function that runs the given work one piece after the other. */
function createTurn(): <T>(work: () => Promise<T>) => Promise<T> {
  let turn: Promise<unknown> = Promise.resolve();
  return (work) => {
    const result = turn.then(work);
    turn = result.catch(() => undefined);
    return result;
  };
}

/** Commits a change of the compose file of each service. Call it in the repository's turn. */
export async function commitMark(world: World, services: readonly string[], mark: string): Promise<string> {
  const { repository } = world.stage;
  const ordinary = services.filter((service) => service !== SLOW_SERVICE);
  if (ordinary.length < services.length) {
    await repository.write(`${SLOW_FOLDER}/compose.yaml`, `services: {}\n# ${mark}\n`);
  }
  return commitChange(repository, ordinary, mark);
}
