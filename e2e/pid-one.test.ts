/** F31: the server as the first process of a container, where no other process collects orphans. */

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, type TestContext } from 'vitest';
import { runBounded } from './support/bounded-command.ts';
import { writeShellService } from './support/hand-made-service.ts';
import { processesMentioning } from './support/processes.ts';
import { CLI } from './support/program.ts';
import { PROJECT_ROOT } from './support/project-root.ts';
import { acceptedRun } from './support/run-actions.ts';
import { setTestStage } from './support/test-stage.ts';
import { until } from './support/until.ts';

const NEW_NAMESPACE = ['unshare', '--fork', '--pid', '--mount-proc', '--kill-child'] as const;
const SERVER = [process.execPath, CLI, 'serve'];
const RUNS = 5;

async function namespaceOrSkip(context: TestContext): Promise<void> {
  const tried = await runBounded([...NEW_NAMESPACE, 'true'], 10_000);
  if (!tried.ok) context.skip(`a process namespace is not to be had here: ${tried.problem}`);
}

/** Dead children of these processes that nobody has collected. The environment of a zombie cannot be read any more. */
async function zombiesOf(parents: ReadonlySet<number>): Promise<number> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')));
  const fields = stats.map((stat) => stat.slice(stat.lastIndexOf(')') + 2).split(' '));
  return fields.filter(([state, parent]) => state === 'Z' && parents.has(Number(parent))).length;
}

/** Each run leaves two orphans in sessions of their own. One ends by itself, and the other one must be ended. */
async function runWithOrphans(program: readonly string[]): Promise<number> {
  const stage = await setTestStage('pid-one');
  await writeShellService(
    stage.repository,
    'platform/06.careless',
    'setsid sh -c "sleep 0.2 &" & setsid sh -c "sleep 300 &" & sleep 0.5',
  );
  await stage.repository.commit('Careless');
  const runner = await stage.start({ program: [...NEW_NAMESPACE, ...program] });
  await stage.push(runner);
  for (let run = 0; run < RUNS; run += 1) {
    const answer = await runner.signedPost('/sync', { services: ['platform/careless'], force: true });
    await runner.waitForRun(acceptedRun(answer), 'succeeded');
  }
  expect((await runner.getJson('/health', null)).status).toBe(200);
  await until('the end of all orphans', async () => {
    const left = await processesMentioning(stage.folder);
    return left.some(({ command }) => command.startsWith('sleep')) ? null : true;
  });
  const servers = (await processesMentioning(stage.folder)).filter(
    ({ command }) => !/^unshare/.test(command),
  );
  return zombiesOf(new Set(servers.map(({ pid }) => pid)));
}

describe('A server that is process 1', () => {
  it('F31: without a reaper still ends every run, however many dead orphans are left', async (context) => {
    await namespaceOrSkip(context);
    // At most the orphans of the tasks are left, and no process of the server itself.
    expect(await runWithOrphans(SERVER)).toBeLessThanOrEqual((RUNS + 1) * 6);
  });

  it('F31: behind an init has no zombies at all', async (context) => {
    await namespaceOrSkip(context);
    // A shell that waits collects every orphan, as the tini of the image does.
    const behindShell = ['bash', '-c', '"$@" & wait $!', 'init', ...SERVER];
    expect(await runWithOrphans(behindShell)).toBe(0);
  });

  it('F31: is not what the image starts', async () => {
    const dockerfile = await readFile(join(PROJECT_ROOT, 'Dockerfile'), 'utf8');
    expect(dockerfile).toMatch(/^ENTRYPOINT \["tini", "--", /m);
  });
});
