/** F16: each answer waits for the disk. A kill -9 cannot show this, because the page cache survives it. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { killProcessesMentioning } from './support/processes.ts';
import { acceptedRun, actOnRun } from './support/run-actions.ts';
import type { Runner } from './support/runner.ts';
import type { Stage } from './support/stage.ts';
import { serverTraced, straceOrSkip } from './support/strace.ts';
import { setTestStage } from './support/test-stage.ts';

const CALLS = 'read,recvfrom,write,writev,sendto,pwrite64,fdatasync,fsync';

/**
 * The system calls for one request, in order: from the call that read its first line to the call that wrote its
 * 2xx. Works only for requests that came one at a time.
 */
function callsFor(trace: readonly string[], request: string): string[] {
  const from = trace.findIndex((line) => line.includes(`"${request} HTTP/1.1`));
  const length = trace.slice(from).findIndex((line) => /"HTTP\/1\.1 20\d /.test(line));
  expect(
    [from, length].every((index) => index >= 0),
    `${request} and its answer in the trace`,
  ).toBe(true);
  return trace.slice(from, from + length);
}

/**
 * Returns whether the write-ahead log was written and then completely synced. strace may split a call over two
 * lines.
 */
function syncedLog(calls: readonly string[]): boolean {
  const written = calls.findIndex((line) => /pwrite64\(\d+<[^>]*-wal>/.test(line));
  const started = calls.findIndex((line, at) => at > written && /f(data)?sync\(\d+<[^>]*-wal>/.test(line));
  const thread = calls[started]?.split(' ')[0] ?? '';
  const ended = calls.findIndex(
    (line, at) => at >= started && line.startsWith(`${thread} `) && /f(data)?sync.*\)\s+= 0/.test(line),
  );
  return written >= 0 && started > written && ended >= started;
}

async function makePromises(stage: Stage, runner: Runner): Promise<string[]> {
  await stage.repository.write('platform/01.redis/compose.yaml', 'services: {}\n');
  await stage.repository.commit('Break redis');
  const failed = acceptedRun(await stage.push(runner));
  await runner.waitForRun(failed, 'failed');
  const synced = await runner.signedPost('/sync', { services: ['platform/minio'] });
  await runner.waitForRun(acceptedRun(synced), 'succeeded');
  const retried = await actOnRun(runner, failed, 'retry');
  await runner.waitForRun(acceptedRun(retried), 'failed');
  return ['POST /webhook', 'POST /sync', `POST /runs/${failed}/retry`];
}

it('F16: every answer that acknowledges something is sent after the log was synced to the disk', async (context) => {
  await straceOrSkip(context);
  const stage = await setTestStage('durability');
  const file = join(stage.folder, 'trace');
  // Without statuses and looks at the branch, fewer writes can be confused with those of the answer.
  const environment = { LOG_LEVEL: 'info', RECONCILE_INTERVAL: '0', GITHUB_TOKEN: undefined };
  try {
    const runner = await stage.start({ program: serverTraced(CALLS, file), environment });
    const requests = await makePromises(stage, runner);
    const trace = (await readFile(file, 'utf8')).split('\n');
    for (const request of requests) {
      const calls = callsFor(trace, request);
      expect(syncedLog(calls), `${request}:\n${calls.join('\n')}`).toBe(true);
    }
  } finally {
    // The traced server may still run when strace has ended.
    await killProcessesMentioning(stage.folder);
  }
});
