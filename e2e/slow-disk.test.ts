/** A disk that writes slowly: the server says "not stored" only of requests that are not stored and never will be. */

import { randomUUID } from 'node:crypto';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { describeUnless } from './support/describe-unless.ts';
import { type InjectedFault, injectFault, noInjection } from './support/injected-fault.ts';
import { commitChange, syncedAt } from './support/platform-services.ts';
import { PROJECT_ROOT } from './support/project-root.ts';
import { acceptedRun } from './support/run-actions.ts';
import type { Runner } from './support/runner.ts';
import type { Answer } from './support/runner-client.ts';
import { WEBHOOK_SECRET } from './support/runner-environment.ts';
import type { Stage } from './support/stage.ts';
import { setTestStage } from './support/test-stage.ts';
import { until } from './support/until.ts';
import { signBody } from './support/webhook-sender.ts';

const untraceable = noInjection();
// Only requests and their runs write to the disk.
const QUIET = { RECONCILE_INTERVAL: '0', GITHUB_TOKEN: undefined };

/** Returns a function that sends a request with a nonce, with the same bytes each time. */
function syncOnce(runner: Runner): () => Promise<Answer> {
  const body = '{"services":["platform/redis"]}';
  const [timestamp, nonce] = [`${Math.floor(Date.now() / 1_000)}`, randomUUID()];
  const signature = signBody(WEBHOOK_SECRET, `${timestamp}.${nonce}.${body}`);
  const headers = { 'x-hub-signature-256': signature, 'x-iac-timestamp': timestamp, 'x-iac-nonce': nonce };
  return () => runner.signedPost('/sync', body, { headers });
}

/** Resolves to the id of the first run when the run has ended and the server has nothing to do. */
async function settle(stage: Stage, runner: Runner): Promise<string> {
  await commitChange(stage.repository, ['platform/redis'], 'Begin');
  const id = acceptedRun(await stage.push(runner));
  await runner.waitForRun(id, 'succeeded');
  return id;
}

/** Sends a request, and resolves while it is written to a disk that takes 15 s. */
async function beginWrite(
  { folder }: Stage,
  runner: Runner,
): Promise<{ fault: InjectedFault; answer: Promise<Answer> }> {
  const lastWrite = () => statSync(join(folder, 'data/iac-runner.db-wal')).mtimeMs;
  const fault = await injectFault(runner.pid, 'fsync,fdatasync:delay_enter=15000000');
  const before = lastWrite();
  const answer = syncOnce(runner)();
  await until('the commit to begin', () => (lastWrite() > before ? true : null));
  return { fault, answer };
}

describeUnless(untraceable, 'A slow disk', () => {
  it('F12: that takes 15 s a write makes waiting requests get 503 within 5 s and never stores them, and the written one gets its outcome', async () => {
    const stage = await setTestStage('slow-disk');
    const runner = await stage.start({ environment: QUIET });
    const first = await settle(stage, runner);
    const { fault, answer } = await beginWrite(stage, runner);
    let isAnswered = false;
    void answer.then(() => {
      isAnswered = true;
    });
    const head = await commitChange(stage.repository, ['platform/dashy'], 'Change dashy on a slow disk');
    const late = syncOnce(runner);
    // The answers must arrive in time: GitHub, and the sender of these tests, give up after ten seconds.
    for (const { status, headers } of await Promise.all([stage.push(runner), late()])) {
      expect([status, headers.get('retry-after')]).toEqual([503, '5']);
    }
    expect(isAnswered).toBe(false);
    await fault.stop();
    const written = acceptedRun(await answer);
    await runner.waitForRun(written, 'succeeded');
    expect((await runner.runs()).map(({ run_id }) => run_id)).toEqual([written, first]);
    await runner.waitForRun(acceptedRun(await late()), 'succeeded');
    expect(await syncedAt(stage.journal, head)).toEqual([]);
    expect(await runner.stop()).toBe(0);
    // The server's look at the branch finds the push that was refused.
    await stage.start({ environment: QUIET });
    await until('dashy to be synced', async () =>
      (await syncedAt(stage.journal, head)).includes('platform/dashy') ? true : null,
    );
  });

  it('does not make a server say "not stored" of a request that was being written when the store died', async () => {
    const stage = await setTestStage('slow-death');
    const parts = join(PROJECT_ROOT, 'e2e/support/fragile-parts.ts');
    const environment = { ...QUIET, NODE_OPTIONS: `--import ${parts}` };
    const runner = await stage.start({ environment });
    await settle(stage, runner);
    const { fault, answer } = await beginWrite(stage, runner);
    runner.signal('SIGUSR2');
    await until("the server's threads to die", () =>
      runner.output().includes('Its threads die.') ? true : null,
    );
    await fault.stop();
    expect(await answer).toMatchObject({ status: 500 });
    expect(await runner.exited).toEqual({ exitCode: 1, signal: null });
    const next = await stage.start({ environment: QUIET });
    expect(await next.runs()).toHaveLength(2);
  });
});
