/** Several machines that share a database. Each has its own folders and name, but all run on this machine. */

import { join } from 'node:path';
import { afterAll, beforeAll, onTestFinished } from 'vitest';
import {
  type PostgresServer,
  startPostgres,
  withoutPostgres,
} from '../../src/stores/postgres/postgres-server.fixture.ts';
import type { Runner } from './runner.ts';
import type { Stage } from './stage.ts';
import { setTestStage } from './test-stage.ts';

/** The reason for the title of tests that are skipped without PostgreSQL. */
export { withoutPostgres };

/**
 * Starts PostgreSQL for the tests of a file. Call it beside the tests; they get the database from the returned
 * function.
 */
export function sharePostgres(): () => PostgresServer {
  let server: PostgresServer | undefined;
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server?.remove());
  return () => {
    if (!server) throw new Error('The database is started before the first test, not earlier.');
    return server;
  };
}

/** Pauses all processes of the database, as a paused host would. They continue when the test has ended. */
export function pausePostgres(server: PostgresServer): { end(): void } {
  const end = () => server.signal('SIGCONT');
  onTestFinished(end);
  server.signal('SIGSTOP');
  return { end };
}

export function machineEnvironment(
  { folder }: { folder: string },
  storeUrl: string,
  machine: string,
): Record<string, string> {
  const own = (kind: string) => join(folder, machine, kind);
  return {
    STORE_URL: storeUrl,
    WORKER_ID: machine,
    DATA_DIR: own('data'),
    WORKSPACE_DIR: own('workspace'),
    DEPLOY_DIR: own('deploy'),
  };
}

export interface Machines {
  /** The address of the database that the machines share. */
  storeUrl: string;
  /** Starts a server on a machine of its own. */
  startOn(machine: string, environment?: Record<string, string>): Promise<Runner>;
}

/** Creates a database for machines of the stage, which `serve` starts. */
export async function addMachines(
  server: PostgresServer,
  stage: Stage,
  serve = (environment: Record<string, string>): Promise<Runner> => stage.start({ environment }),
): Promise<Machines> {
  const storeUrl = await server.createDatabase();
  return {
    storeUrl,
    startOn: (machine, environment = {}) =>
      serve({ ...machineEnvironment(stage, storeUrl, machine), ...environment }),
  };
}

/** Creates a stage with a database for its machines. Call it in a test, with which the stage ends. */
export async function setMachineStage(
  server: PostgresServer,
  name: string,
): Promise<Machines & { stage: Stage }> {
  const stage = await setTestStage(name);
  return { stage, ...(await addMachines(server, stage)) };
}
