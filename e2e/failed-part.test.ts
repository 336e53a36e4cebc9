/** A server that has lost a part ends, so that its supervisor starts it again and everything continues. */

import { join } from 'node:path';
import { expect, it } from 'vitest';
import { commitChange, syncedAt, writeGatedService } from './support/platform-services.ts';
import { PROJECT_ROOT } from './support/project-root.ts';
import { acceptedRun } from './support/run-actions.ts';
import { openGate } from './support/shared-stage.ts';
import { setTestStage } from './support/test-stage.ts';
import { until } from './support/until.ts';

const PARTS = join(PROJECT_ROOT, 'e2e/support/fragile-parts.ts');
const environment = { NODE_OPTIONS: `--import ${PARTS}`, DRAIN_TIMEOUT: '1' };

it.each([
  ['the thread that writes its store', 'SIGUSR2', 'thread that writes the store'],
  ['a loop, by an error that nobody handles', 'SIGWINCH', 'planted by the test'],
] as const)(
  'a server that loses %s exits with an error that says so, and the next one goes on',
  async (_part, signal, cause) => {
    const stage = await setTestStage(`failed-part-${signal.toLowerCase()}`);
    const runner = await stage.start({ environment });
    await writeGatedService(stage.repository, 'platform/09.slow', 'slow');
    await stage.repository.commit('Add a slow service');
    const id = acceptedRun(await stage.push(runner));
    await until('the start of the task', async () => {
      const { body } = await runner.getJson(`/runs/${id}`);
      return JSON.stringify(body).includes('"running"') ? true : null;
    });
    runner.signal(signal);
    expect(await runner.exited).toEqual({ exitCode: 1, signal: null });
    const said = JSON.stringify(runner.logs());
    expect(said).toContain(cause);
    expect(said).toContain('a part has failed for good');
    expect(said).toContain('"msg":"stopped"');
    const next = await stage.start();
    await openGate(stage, 'slow');
    await next.waitForRun(id, 'succeeded');
    const other = await commitChange(stage.repository, ['platform/redis'], 'Change redis afterwards');
    await next.waitForRun(acceptedRun(await stage.push(next)), 'succeeded');
    expect(await syncedAt(stage.journal, other)).toContain('platform/redis');
    expect(await next.stop()).toBe(0);
  },
);
