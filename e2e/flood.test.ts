/** Strangers keep the server busy with bodies that never end: its memory stays bounded, and it still accepts a push. */

import { connect, type Socket } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { commitChange } from './support/platform-services.ts';
import { openRaw, type RawConnection } from './support/raw-http.ts';
import { acceptedRun } from './support/run-actions.ts';
import type { Runner } from './support/runner.ts';
import { memoryOf } from './support/server-memory.ts';
import type { Stage } from './support/stage.ts';
import { setTestStage } from './support/test-stage.ts';

const MIB = 1024 * 1024;
const PIECE = Buffer.alloc(MIB, 'a');
/** The server sees each connection come from the address that it was made from. */
const environment = { TRUSTED_PROXIES: undefined };
/** This address differs from the address of the pushes, as GitHub's address does. */
const STRANGERS = '127.0.0.2';

function headOf(length: number, lines: readonly string[] = []): string {
  const head = ['POST /webhook HTTP/1.1', 'Host: localhost', ...lines, `Content-Length: ${length}`];
  return `${head.join('\r\n')}\r\n\r\n`;
}

/** Opens this many connections with a body that never arrives. A connection that is cut off is opened again at once. */
function startFlood(url: string, count: number) {
  const { hostname: host, port } = new URL(url);
  const sockets = new Set<Socket>();
  let opened = 0;
  let isOver = false;
  function open(): void {
    const socket = connect({ host, port: Number(port), localAddress: STRANGERS });
    sockets.add(socket);
    socket.resume();
    // The client sees the cut-off as the end of the connection.
    socket.on('error', () => undefined);
    socket.once('connect', () => {
      opened += 1;
      socket.write(headOf(20));
    });
    socket.once('close', () => {
      sockets.delete(socket);
      if (!isOver) open();
    });
  }
  for (let number = 0; number < count; number += 1) open();
  return {
    opened: () => opened,
    stop() {
      isOver = true;
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Sends a genuine push, which must be accepted and run successfully. Returns how long the answer took. */
async function push(stage: Stage, runner: Runner): Promise<number> {
  await commitChange(stage.repository, ['platform/redis'], 'Change redis');
  const pushed = await stage.push(runner);
  await runner.waitForRun(acceptedRun(pushed), 'succeeded');
  return Math.round(pushed.durationMs);
}

describe('A flood of strangers', () => {
  it('who hold back the end of 30 bodies of 25 MiB get 503, memory stays bounded, and a push is accepted', async () => {
    const stage = await setTestStage('flood-bodies');
    const runner = await stage.start({ environment });
    const before = await memoryOf(runner.pid);
    const lines = ['Content-Type: application/json', `X-Hub-Signature-256: sha256=${'0'.repeat(64)}`];
    const strangers: RawConnection[] = [];
    const refusals: string[] = [];
    for (let number = 0; number < 30; number += 1) {
      const stranger = await openRaw(runner.url, STRANGERS);
      strangers.push(stranger);
      onTestFinished(() => void stranger.socket.destroy());
      void stranger.answer.then((answer) => {
        refusals.push(`${answer?.status} after ${Number(answer?.headers.get('retry-after')) > 0}`);
      });
      await stranger.write(headOf(25 * MIB, lines));
      for (let sent = 0; sent < 24 && (await stranger.write(PIECE)); sent += 1);
    }
    const tookMs = await push(stage, runner);
    const after = await memoryOf(runner.pid);
    console.log(
      `A push beside 30 bodies of 24 MiB: ${tookMs} ms; memory ${before.nowMib} MiB, at most ${after.peakMib} MiB`,
    );
    // Two bodies fit into 64 MiB. Together, all of them would take 720 MiB.
    expect(refusals.length).toBeGreaterThanOrEqual(28);
    expect(new Set(refusals)).toEqual(new Set(['503 after true']));
    expect(after.peakMib - before.nowMib).toBeLessThan(400);
    expect(await runner.stop()).toBe(0);
  });

  it('on 2,050 connections with unfinished bodies, who all come back, block neither /health nor a push', async () => {
    const stage = await setTestStage('flood-connections');
    const runner = await stage.start({ environment });
    const flood = startFlood(runner.url, 2_050);
    onTestFinished(flood.stop);
    await expect.poll(flood.opened).toBeGreaterThan(2_050);
    const durationsMs: number[] = [];
    for (let time = 0; time < 2; time += 1) {
      expect((await runner.getJson('/health', null)).status).toBe(200);
      durationsMs.push(await push(stage, runner));
    }
    const { peakMib } = await memoryOf(runner.pid);
    console.log(
      `Pushes beside ${flood.opened()} connections of strangers: ${durationsMs.join(', ')} ms; at most ${peakMib} MiB`,
    );
    expect(peakMib).toBeLessThan(600);
    flood.stop();
    expect(await runner.stop()).toBe(0);
  });
});
