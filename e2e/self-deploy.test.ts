/** A sync that replaces the server that runs it ends in the right state. */

import { expect, it } from 'vitest';
import { writePythonService } from './support/hand-made-service.ts';
import { pushRun } from './support/pushed-run.ts';
import { setTestStage } from './support/test-stage.ts';

it('a run that stops its own server is finished by the next one', async () => {
  const stage = await setTestStage('self');
  // This is how `docker compose up` acts on its own container: the first time, the server gets SIGTERM, and the
  // task ends with it.
  await writePythonService(
    stage.repository,
    'platform/06.runner',
    `
import signal
deployed = Path(os.environ["IAC_EXAMPLE_STATE"]) / "runner-deployed"
if not deployed.exists():
    deployed.touch()
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(300)
print("already as described")`,
  );
  const environment = { DRAIN_TIMEOUT: '1' };
  const first = await stage.start({ environment });
  const { runId, commit } = await pushRun(stage, first);
  expect((await first.exited).exitCode).toBe(0);
  const second = await stage.start({ environment });
  const run = await second.waitForRun(runId, 'succeeded');
  // The run was handed back and not interrupted, so it uses up no attempt.
  expect(run).toMatchObject({ attempt: 1, message: '1 service(s) synced successfully' });
  await stage.github.statuses.waitFor({ sha: commit, state: 'success' });
});

it('a task that stops its server again and again ends, and says what to do', async () => {
  const stage = await setTestStage('self-for-ever');
  await writePythonService(
    stage.repository,
    'platform/06.runner',
    `
import signal
os.kill(os.getppid(), signal.SIGTERM)
time.sleep(300)`,
  );
  const environment = { DRAIN_TIMEOUT: '1', RETRY_LIMIT: '2', RECONCILE_INTERVAL: '0' };
  const first = await stage.start({ environment });
  const { runId, commit } = await pushRun(stage, first);
  expect((await first.exited).exitCode).toBe(0);
  for (let handBacks = 1; handBacks <= 5; handBacks += 1) {
    const next = await stage.start({ environment });
    expect((await next.exited).exitCode).toBe(0);
  }
  const last = await stage.start({ environment });
  const run = await last.waitForRun(runId, 'errored');
  expect(run).toMatchObject({ attempt: 1, reason: 'handed_back_too_often' });
  expect(run.message).toContain('handed it back 5 times');
  expect(run.next_action).toContain('docs/operations.md');
  await stage.github.statuses.waitFor({ sha: commit, state: 'error' });
});
