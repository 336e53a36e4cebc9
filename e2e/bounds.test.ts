/** Clients that stop reading cost a bounded amount of memory each, and block nobody. */

import { connect, type Socket } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { writeShellService } from './support/hand-made-service.ts';
import { commitChange } from './support/platform-services.ts';
import { pushRun } from './support/pushed-run.ts';
import { acceptedRun } from './support/run-actions.ts';
import type { Runner } from './support/runner.ts';
import { API_TOKENS } from './support/runner-environment.ts';
import { memoryOf } from './support/server-memory.ts';
import { setTestStage } from './support/test-stage.ts';
import { until } from './support/until.ts';

const READERS = 60;

/** Requests the path, reads the first bytes of the answer, and then reads nothing more. */
async function openStalledReader(runner: Runner, path: string): Promise<Socket> {
  const { hostname, port } = new URL(runner.url);
  const socket = connect(Number(port), hostname);
  onTestFinished(() => void socket.destroy());
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: ${hostname}\r\nAuthorization: Bearer ${API_TOKENS.viewer}\r\n\r\n`,
  );
  let first = '';
  socket.on('data', (chunk) => {
    first ||= String(chunk.subarray(0, 12));
    socket.pause();
  });
  await until('the first bytes', () => (first === '' ? null : first));
  expect(first).toBe('HTTP/1.1 200');
  return socket;
}

describe('Clients that stop reading a large log', () => {
  it('F32: leave the memory bounded and the next push as fast as before', async () => {
    const stage = await setTestStage('stalled');
    const runner = await stage.start({ environment: { LOG_LEVEL: 'info' } });
    await writeShellService(
      stage.repository,
      'platform/06.flood',
      `yes 'the quick brown fox jumps over the lazy dog' | head -c 60000000`,
    );
    const { runId } = await pushRun(stage, runner, 'Flood');
    await runner.waitForRun(runId, 'succeeded');
    const before = await memoryOf(runner.pid);
    for (let reader = 0; reader < READERS; reader += 1) {
      await openStalledReader(runner, `/runs/${runId}/${reader % 2 === 0 ? 'events' : 'log'}`);
    }
    await commitChange(stage.repository, ['platform/redis'], 'Change redis');
    const pushed = await stage.push(runner);
    await runner.waitForRun(acceptedRun(pushed), 'succeeded');
    const after = await memoryOf(runner.pid);
    // The server would hold 60 MB of log for each client if it kept the log in memory.
    expect(after.nowMib - before.nowMib).toBeLessThan(READERS * 8);
    console.log(`Memory of ${READERS} stalled readers: ${Math.round(after.nowMib - before.nowMib)} MiB`);
    expect(await runner.stop()).toBe(0);
  });
});
