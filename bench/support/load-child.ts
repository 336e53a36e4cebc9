/**
 * Sends one prepared POST again and again over many connections. It is a process of its own, which costs little beside
 * any server.
 */

import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { z } from 'zod';

const jobSchema = z.object({
  port: z.number(),
  /** The file with the request as bytes. */
  requestFile: z.string(),
  /** The position of the 36 characters of the delivery id in the request. */
  idOffset: z.number(),
  connections: z.number(),
  requests: z.number(),
});

type Job = z.output<typeof jobSchema>;

/** Resolves once this connection has nothing left to send; pushes the ms of each answer. */
function sendAll({ port, idOffset }: Job, request: Buffer, take: () => boolean, latencies: number[]) {
  return new Promise<void>((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    // Each connection rewrites the id in a copy of its own: every delivery is a new one.
    const own = Buffer.from(request);
    let sentAt = 0;
    let received = '';

    function next(): void {
      if (!take()) {
        socket.end();
        resolve();
        return;
      }
      own.write(randomUUID(), idOffset, 'latin1');
      sentAt = performance.now();
      socket.write(own);
    }

    socket.on('connect', next);
    socket.on('error', reject);
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1');
      const bodyStart = received.indexOf('\r\n\r\n') + 4;
      const length = Number(/\r\ncontent-length: (\d+)/i.exec(received)?.[1] ?? Number.NaN);
      if (bodyStart === 3 || !(received.length >= bodyStart + length)) return;
      latencies.push(performance.now() - sentAt);
      if (!received.startsWith('HTTP/1.1 200') || !received.includes('"status":"accepted"')) {
        reject(new Error(`The server did not accept: ${received}`));
        socket.destroy();
        return;
      }
      received = '';
      next();
    });
  });
}

async function run(job: Job): Promise<{ durationMs: number; latencies: number[] }> {
  const request = readFileSync(job.requestFile);
  const latencies: number[] = [];
  let left = job.requests;
  const take = (): boolean => {
    left -= 1;
    return left >= 0;
  };
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: job.connections }, () => sendAll(job, request, take, latencies)));
  return { durationMs: performance.now() - startedAt, latencies };
}

process.on('message', (message) => {
  run(jobSchema.parse(message)).then(
    (result) => process.send?.(result),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
