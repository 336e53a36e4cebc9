/** Measures how long `/health` takes while a child process reads something else from the server. */

import { spawn } from 'node:child_process';
import { Agent, get } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { API_TOKENS } from '../../e2e/support/runner-environment.ts';

const EVERY_MS = 10;
const FIRST_MS = 500;

/** Resolves to the times of the answers. Without a path, nothing is read meanwhile. */
export async function healthWhileReading(url: string, path: string | null, forMs: number): Promise<number[]> {
  const program = join(import.meta.dirname, 'reading-child.ts');
  const words = [program, `${url}${path}`, `Bearer ${API_TOKENS.viewer}`];
  const child =
    path === null ? null : spawn(process.execPath, words, { stdio: ['ignore', 'ignore', 'inherit'] });
  try {
    await sleep(FIRST_MS);
    const times = await healthTimes(url, forMs);
    if (child?.exitCode != null) throw new Error(`${path} could not be read.`);
    return times;
  } finally {
    child?.kill('SIGKILL');
  }
}

async function healthTimes(url: string, forMs: number): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const times: number[] = [];
  const end = performance.now() + forMs;
  while (performance.now() < end) {
    times.push(await timeOf(`${url}/health`, agent));
    await sleep(EVERY_MS);
  }
  agent.destroy();
  return times;
}

function timeOf(address: string, agent: Agent): Promise<number> {
  const startedAt = performance.now();
  return new Promise((resolve, reject) => {
    const request = get(address, { agent }, (answer) => {
      answer.resume();
      answer.on('end', () => resolve(performance.now() - startedAt));
    });
    request.on('error', reject);
  });
}
