/** Strangers may use a bounded part of the server, and senders who prove who they are are always served. */

import { EventEmitter, once } from 'node:events';
import type { HttpBindings } from '@hono/node-server';
import { Hono } from 'hono';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { type DoorOptions, serveDoors, signedPing, wrongPushHead } from '../served-doors.fixture.ts';

// Hundreds of megabytes and thousands of connections take their time on a busy machine.
vi.setConfig({ testTimeout: 120_000 });

const MIB = 1024 * 1024;
const WHOLE = 25 * MIB;

async function serve(options: DoorOptions = {}) {
  const doors = await serveDoors(options);
  onTestFinished(doors.close);
  return doors;
}

type Doors = Awaited<ReturnType<typeof serve>>;

/** Sends all but the last bytes of a large body, and then nothing more. */
async function sendMost({ open }: Doors, bytes: number) {
  const stranger = await open(wrongPushHead(WHOLE));
  const { socket } = stranger;
  for (let sent = 0; sent < bytes && !socket.destroyed; sent += MIB) {
    if (!socket.write(Buffer.alloc(MIB, 'a'))) {
      await Promise.race([once(socket, 'drain').catch(() => undefined), stranger.closed, stranger.answer]);
    }
  }
  return stranger;
}

const statusOf = (answer: string) => answer.slice(9, 12);

describe('Bodies without a verified signature', () => {
  it('hold 64 MiB at most over all connections, and a signed push of 20 MiB still gets in', async () => {
    const doors = await serve();
    const strangers = [];
    for (let number = 0; number < 8; number += 1) strangers.push(await sendMost(doors, 24 * MIB));
    // Only two bodies of 24 MiB fit: the others were given up for those that came later.
    const refused = await Promise.all(strangers.slice(0, 6).map(({ answer }) => answer));
    expect(refused.map(statusOf)).toEqual(Array(6).fill('503'));
    for (const answer of refused) expect(answer).toMatch(/\r\nRetry-After: \d+\r\n/i);

    const push = await doors.open(signedPing(20 * MIB));
    expect(statusOf(await push.answer)).toBe('200');
    const small = await doors.open(signedPing(10));
    expect(statusOf(await small.answer)).toBe('200');
  });

  it('of one address do not displace those of another', async () => {
    const doors = await serve({ trustedProxies: ['127.0.0.1'] });
    const friend = await doors.open(
      wrongPushHead(WHOLE).replace('\r\n\r\n', '\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n') +
        'x'.repeat(2 * MIB),
    );
    let answered = false;
    void friend.answer.then(() => {
      answered = true;
    });
    for (let number = 0; number < 5; number += 1) await sendMost(doors, 24 * MIB);
    expect(answered).toBe(false);
  });
});

describe('Connections of strangers', () => {
  it('are 64 at most from one address; the one that was silent for the longest time is cut off', async () => {
    const doors = await serve();
    const strangers = [];
    for (let number = 0; number < 70; number += 1) strangers.push(await doors.open(wrongPushHead(20)));
    const [first] = strangers;
    expect(statusOf((await first?.answer) ?? '')).toBe('503');
    await Promise.all(strangers.slice(0, 6).map(({ closed }) => closed));
    const open = strangers.filter(({ socket }) => !socket.closed && !socket.readableEnded);
    expect(open).toHaveLength(64);
  });

  it('2,050 with unfinished bodies keep neither /health nor a push out', async () => {
    const doors = await serve();
    for (let round = 0; round < 5; round += 1) {
      await Promise.all(Array.from({ length: 410 }, () => doors.open(wrongPushHead(20))));
      const health = await fetch(`${doors.url}/health`, { headers: { Connection: 'close' } });
      expect(health.status).toBe(200);
      const push = await doors.open(signedPing(100_000));
      expect(statusOf(await push.answer)).toBe('200');
    }
  });

  it('are not counted any more once a request on them was signed', async () => {
    const doors = await serve({ connectionsPerAddress: 2 });
    const signed = await doors.open(signedPing(10));
    expect(statusOf(await signed.answer)).toBe('200');
    for (let number = 0; number < 10; number += 1) await doors.open(wrongPushHead(20));
    const again = once(signed.socket, 'data');
    signed.socket.write(signedPing(10));
    expect(statusOf(String((await again)[0]))).toBe('200');
  });

  it('behind a proxy are counted by the address that it reports', async () => {
    const doors = await serve({ trustedProxies: ['127.0.0.0/8'], connectionsPerAddress: 2 });
    const from = (address: string) =>
      doors.open(wrongPushHead(20).replace('\r\n\r\n', `\r\nX-Forwarded-For: 9.9.9.9, ${address}\r\n\r\n`));
    const others = [await from('192.0.2.1'), await from('192.0.2.2')];
    const [first] = [await from('192.0.2.3'), await from('192.0.2.3'), await from('192.0.2.3')];
    expect(statusOf((await first?.answer) ?? '')).toBe('503');
    expect(others.map(({ socket }) => socket.readableEnded)).toEqual([false, false]);
  });
});

describe('A client that reads nothing of its answer', () => {
  it('is cut off, and one that reads slowly is not', async () => {
    const cut = new EventEmitter();
    const routes = new Hono<{ Bindings: HttpBindings }>();
    routes.get('/large/:reader', (c) => {
      c.env.outgoing.once('close', () => cut.emit(c.req.param('reader')));
      // This is more than the buffers on the way hold.
      return c.body('x'.repeat(16 * MIB));
    });
    const doors = await serve({ stalledReaderMs: 3_000, routes });
    let slowEnded = false;
    cut.once('slow', () => {
      slowEnded = true;
    });
    const slow = await doors.open('GET /large/slow HTTP/1.1\r\nHost: localhost\r\n\r\n');
    slow.socket.on('data', () => {
      slow.socket.pause();
      setTimeout(() => slow.socket.resume(), 50);
    });
    const stalledEnded = once(cut, 'stalled');
    const stalled = await doors.open('GET /large/stalled HTTP/1.1\r\nHost: localhost\r\n\r\n');
    stalled.socket.pause();
    await stalledEnded;
    expect(slowEnded).toBe(false);
  });
});
