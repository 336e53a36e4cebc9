/** Starting, querying and ending a server, tested with a stand-in. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { processesMentioning } from './processes.ts';
import { PROJECT_ROOT } from './project-root.ts';
import { API_TOKENS, runnerEnvironment, WEBHOOK_SECRET } from './runner-environment.ts';
import { setStage } from './stage.ts';
import { setTestStage } from './test-stage.ts';
import { signBody } from './webhook-sender.ts';

const program = [process.execPath, join(PROJECT_ROOT, 'e2e/support/stand-in.ts')];

it('A server for tests starts on a free port, reads the log and stops with the exit code', async () => {
  const stage = await setTestStage('start');
  const runner = await stage.start({ program, environment: { GIT_BRANCH: undefined, SYNC_TIMEOUT: '5' } });
  const { body } = await runner.getJson('/runs');
  expect(body).toMatchObject({
    url: '/runs',
    headers: { authorization: `Bearer ${API_TOKENS.viewer}` },
    env: { WEBHOOK_PORT: '0', SYNC_TIMEOUT: '5', IAC_JOURNAL: stage.journal.path },
  });
  expect(body).not.toHaveProperty('env.GIT_BRANCH');
  expect(body).not.toHaveProperty('env.VITEST');
  expect(runner.logs()).toMatchObject([{ msg: 'listening', url: runner.url }]);
  expect(await runner.stop()).toBe(0);
  expect(runner.output()).toContain('not json');
});

it('A server for tests posts with a signature over the bytes', async () => {
  const stage = await setTestStage('post');
  const runner = await stage.start({ program });
  const { body } = await runner.signedPost('/sync', { all: true });
  expect(body).toHaveProperty('headers.x-hub-signature-256', signBody(WEBHOOK_SECRET, '{"all":true}'));
});

it('a server that refuses to start is reported with its output', async () => {
  const stage = await setTestStage('refuse');
  const started = stage.start({ program, environment: { STAND_IN: 'refuses' } });
  await expect(started).rejects.toThrow('WEBHOOK_SECRET is missing');
});

it('a killed server can be started again in the same folders, and a stage leaves nothing behind', async () => {
  const stage = await setStage({ name: 'kill', invoke: ['invoke'] });
  const first = await stage.start({ program, environment: { STAND_IN: 'ignores TERM' } });
  first.signal('SIGTERM');
  await first.kill();
  expect((await first.exited).signal).toBe('SIGKILL');
  const second = await stage.start({ program });
  expect(await processesMentioning(stage.folder)).toMatchObject([{ pid: second.pid }]);
  await stage.close();
  expect(await processesMentioning(stage.folder)).toEqual([]);
  expect(existsSync(stage.folder)).toBe(false);
});

it('A server for tests refuses a path of invoke that INVOKE_COMMAND cannot contain', () => {
  const options = { folder: '/x', repositoryPath: '/x', invoke: ['/a b/invoke'] };
  expect(() => runnerEnvironment(options)).toThrow('spaces');
});
