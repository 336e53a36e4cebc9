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

/** Starts a server on a machine of its own. */
export function startMachine(
  stage: Stage,
  storeUrl: string,
  machine: string,
  more: Record<string, string> = {},
): Promise<Runner> {
  return stage.start({ environment: { ...machineEnvironment(stage, storeUrl, machine), ...more } });
}
