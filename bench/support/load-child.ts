/**
 * Sends one prepared POST again and again over many connections. It is a process of its own, which costs little beside
 * any server.
 */

import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';

const jobSchema = z.object({
  port: z.number(),
  /** The file with the request as bytes. */
  requestFile: z.string(),
  /** The position of the 36 characters of the delivery id in the request. */
  idOffset: z.number(),
  connections: z.number(),
  requests: z.number(),
  /** The time between two requests, each over a connection of its own. Without it each connection sends when it is answered. */
  everyMs: z.number().optional(),
});

type Job = z.output<typeof jobSchema>;

interface Connection {
  /** Returns false when there is nothing left to send. */
  take(): boolean;
  /** Gets the ms of each answer. */
  latencies: number[];
  /** Latency counts from this time, or from when the request is sent. */
  dueAt?: number;
}

/** Resolves once this connection has nothing left to send. */
function sendAll({ port, idOffset }: Job, request: Buffer, { take, latencies, dueAt }: Connection) {
  return new Promise<void>((resolve, reject) => {
    // Each connection rewrites the id in a copy of its own: every delivery is a new one.
    const own = Buffer.from(request);

    function open(): void {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true });
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
        const answer = completeAnswer(received);
        if (answer === null) return;
        latencies.push(performance.now() - (dueAt ?? sentAt));
        if (!answer.isAccepted) {
          reject(new Error(`The server did not accept: ${received}`));
          socket.destroy();
          return;
        }
        received = '';
        if (!answer.isLast) return next();
        socket.destroy();
        open();
      });
    }
    open();
  });
}

/** `isLast`: the server takes no further request over this connection. Null: the answer is not complete. */
function completeAnswer(text: string): { isAccepted: boolean; isLast: boolean } | null {
  const bodyStart = text.indexOf('\r\n\r\n') + 4;
  const length = Number(/\r\ncontent-length: (\d+)/i.exec(text)?.[1] ?? Number.NaN);
  if (bodyStart === 3 || !(text.length >= bodyStart + length)) return null;
  return {
    isAccepted: text.startsWith('HTTP/1.1 200') && text.includes('"status":"accepted"'),
    isLast: /\r\nconnection: close\r\n/i.test(text),
  };
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
  if (job.everyMs === undefined) {
    const connections = Array.from({ length: job.connections }, () =>
      sendAll(job, request, { take, latencies }),
    );
    await Promise.all(connections);
  } else await sendSteadily(job, request, job.everyMs, latencies);
  return { durationMs: performance.now() - startedAt, latencies };
}

/** Sends one request whenever one is due, also while earlier ones wait for their answers. */
async function sendSteadily(job: Job, request: Buffer, everyMs: number, latencies: number[]): Promise<void> {
  const startedAt = performance.now();
  const sent: Promise<void>[] = [];
  for (let number = 0; number < job.requests; number += 1) {
    const dueAt = startedAt + number * everyMs;
    await sleep(Math.max(0, dueAt - performance.now()));
    let isLeft = true;
    const take = (): boolean => {
      const was = isLeft;
      isLeft = false;
      return was;
    };
    sent.push(sendAll(job, request, { take, latencies, dueAt }));
  }
  await Promise.all(sent);
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
