/** A server that starts while its database is away waits for it and accepts nothing until then. Needs PostgreSQL. */

import { execa } from 'execa';
import { expect, it, onTestFinished } from 'vitest';
import { startPostgres, withoutPostgres } from '../src/stores/postgres/postgres-server.fixture.ts';
import { describeUnless } from './support/describe-unless.ts';
import { freePort } from './support/free-port.ts';
import { CLI } from './support/program.ts';
import { PROJECT_ROOT } from './support/project-root.ts';
import { runnerEnvironment, WEBHOOK_SECRET } from './support/runner-environment.ts';
import { setTestStage } from './support/test-stage.ts';
import { until } from './support/until.ts';

async function startWithoutDatabase() {
  const stage = await setTestStage('store-away');
  const postgres = await startPostgres();
  onTestFinished(() => postgres.remove());
  const STORE_URL = await postgres.createDatabase();
  await postgres.kill();
  const port = await freePort();
  const environment = { STORE_URL, WEBHOOK_PORT: String(port) };
  const env = runnerEnvironment({ ...stage.runnerOptions, environment });
  const child = execa(process.execPath, [CLI, 'serve'], {
    cwd: PROJECT_ROOT,
    env,
    extendEnv: false,
    reject: false,
    stdin: 'ignore',
    all: true,
  });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await child;
  });
  const url = `http://127.0.0.1:${port}`;
  const statusOf = (path: string) =>
    fetch(url + path).then(
      ({ status }) => status,
      () => null,
    );
  await until('an open door', async () => ((await statusOf('/health')) === 200 ? true : null));
  return { stage, postgres, child, url, statusOf };
}

describeUnless(withoutPostgres, 'A database that is away at the start', () => {
  it('is waited for: nothing is accepted until it is there, and then everything is', async () => {
    const { stage, postgres, child, url, statusOf } = await startWithoutDatabase();
    const ready = await fetch(`${url}/ready`);
    expect([ready.status, await ready.json()]).toEqual([
      503,
      { status: 'not_ready', checks: { store: { status: 'failed', problem: expect.any(String) } } },
    ]);
    const deliver = () =>
      stage.github.deliver({
        url: `${url}/webhook`,
        secret: WEBHOOK_SECRET,
        event: 'push',
        payload: { ref: 'refs/heads/main', after: '0'.repeat(40), commits: [] },
      });
    expect((await deliver()).status).toBe(503);
    await postgres.start();
    await until('a server that is ready', async () => ((await statusOf('/ready')) === 200 ? true : null));
    expect((await deliver()).status).toBe(200);
    child.kill('SIGTERM');
    const { exitCode, all } = await child;
    expect(exitCode).toBe(0);
    expect(all).toContain('waiting for the database');
  });

  it('does not keep a server from stopping when it gets SIGTERM', async () => {
    const { child } = await startWithoutDatabase();
    child.kill('SIGTERM');
    expect((await child).exitCode).toBe(0);
  });
});
