/** Loads a server with signed pushes of distinct delivery ids. A process that stays warm sends them. */

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { signBody } from '../../e2e/support/webhook-sender.ts';
import { percentile } from './statistics.ts';

export interface LoadResult {
  requestsPerSecond: number;
  p50Ms: number;
  p99Ms: number;
}

interface LoadOptions {
  port: number;
  connections: number;
  requests: number;
  /** See `load-child.ts`. */
  everyMs?: number;
}

export interface Load {
  /** Sends a number of requests over a number of connections. Each connection waits for the answer before the next request. */
  send(options: LoadOptions): Promise<LoadResult>;
  end(): void;
}

const ID_PLACE = '00000000-0000-0000-0000-000000000000';

/** Every request has the same `body`, which is signed once, because the signature does not cover the delivery id. */
export async function startLoad(options: { folder: string; secret: string; body: Buffer }): Promise<Load> {
  const requestFile = join(options.folder, 'request');
  const head = [
    'POST /webhook HTTP/1.1',
    'Host: 127.0.0.1',
    'Accept: */*',
    'User-Agent: GitHub-Hookshot/2c5bf97',
    'Content-Type: application/json',
    `Content-Length: ${options.body.length}`,
    `X-GitHub-Delivery: ${ID_PLACE}`,
    'X-GitHub-Event: push',
    `X-Hub-Signature-256: ${signBody(options.secret, options.body)}`,
  ].join('\r\n');
  await writeFile(requestFile, Buffer.concat([Buffer.from(`${head}\r\n\r\n`), options.body]));
  const idOffset = head.indexOf(ID_PLACE);
  const child = fork(join(import.meta.dirname, 'load-child.ts'));
  return {
    async send(where) {
      child.send({ ...where, requestFile, idOffset });
      const { durationMs, latencies } = await answerOf(child);
      return {
        requestsPerSecond: (latencies.length / durationMs) * 1000,
        p50Ms: percentile(latencies, 0.5),
        p99Ms: percentile(latencies, 0.99),
      };
    },
    end: () => void child.kill(),
  };
}

async function answerOf(child: ChildProcess): Promise<{ durationMs: number; latencies: number[] }> {
  const ended = new AbortController();
  const exited = once(child, 'exit', { signal: ended.signal }).then(() => {
    throw new Error('The load generator ended.');
  });
  try {
    const [result] = await Promise.race([once(child, 'message', { signal: ended.signal }), exited]);
    return result;
  } finally {
    ended.abort();
    exited.catch(() => undefined);
  }
}
