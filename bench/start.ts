/** Measures how soon a server serves, and how much memory it holds when it has nothing to do. */

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { createPlatformRepository } from '../e2e/support/platform-repository.ts';
import { runnerEnvironment } from '../e2e/support/runner-environment.ts';
import type { Bench, Row } from './bench.ts';
import { BUILT_PROGRAM, withFolder } from './support/built-runner.ts';
import { type Memory, memoryOf } from './support/process-usage.ts';
import { median, megabytes, spread, times, wholeMs } from './support/statistics.ts';

const ROUNDS = 10;
const IDLE_MS = 5_000;

/** This is the least that can be asked: Node, and a server that answers. */
const BARE_SERVER = `const server = require('node:http').createServer((request, response) => response.end('{}'));
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ url: 'http://127.0.0.1:' + server.address().port })));`;

interface Contender {
  name: string;
  argv: readonly string[];
  env: Record<string, string>;
}

export const start: Bench = {
  name: 'Start and idle memory',
  method: `The time begins with the start of the process, and ends with the first 200 of \`/health\`. The store exists before. There are ${ROUNDS} starts of each, in turn. The first start after an installation finds no compiled code, and leaves it for the next start. Memory is that of the process ${IDLE_MS / 1000} s after its start: RSS is its resident memory, and PSS counts only a share of each page that other processes use too. The bound is \`node -e\` with an empty HTTP server.`,
  run: () =>
    withFolder('start', async (folder) => {
      const contenders = await prepare(folder);
      const took = contenders.map((): number[] => []);
      for (let round = -1; round < ROUNDS; round += 1) {
        for (const [index, contender] of contenders.entries()) {
          const { child, ms } = await startServing(contender);
          await end(child);
          if (round >= 0) took[index]?.push(ms);
        }
      }
      const [ours, first, bare] = contenders;
      if (!ours || !first || !bare) throw new Error('A contender is missing.');
      const [oursMs = [], firstMs = [], bareMs = []] = took;
      const memory = await idle(ours);
      const bareMemory = await idle(bare);
      return [
        timeRow('Start → serving', oursMs, bareMs, true),
        timeRow('The first start of an installation', firstMs, bareMs, false),
        memoryRow('Idle memory, RSS', memory.rssBytes, bareMemory.rssBytes, true),
        memoryRow('Idle memory, PSS', memory.pssBytes, bareMemory.pssBytes, false),
      ];
    }),
};

async function prepare(folder: string): Promise<Contender[]> {
  const repository = await createPlatformRepository(folder);
  for (const name of ['workspace', 'data', 'home', 'tmp']) await mkdir(join(folder, name));
  const environment = { LOG_LEVEL: 'info' };
  const env = runnerEnvironment({ folder, repositoryPath: repository.path, invoke: ['true'], environment });
  const first = { ...env, NODE_DISABLE_COMPILE_CACHE: '1' };
  return [
    { name: 'iac-runner', argv: BUILT_PROGRAM, env },
    { name: 'without compiled code', argv: BUILT_PROGRAM, env: first },
    { name: 'bare', argv: [process.execPath, '-e', BARE_SERVER], env },
  ];
}

/** Both print the address they listen on as JSON. */
async function startServing({ name, argv, env }: Contender): Promise<{ child: ChildProcess; ms: number }> {
  const [program = '', ...args] = argv;
  const startedAt = performance.now();
  const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'ignore'] });
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const [, found] = /"url":"(http:[^"]+)"/.exec(line) ?? [];
      if (found !== undefined) resolve(found);
    });
    child.once('exit', (code) => reject(new Error(`${name} ended with ${code}.`)));
  });
  const { status } = await fetch(`${url}/health`);
  if (status !== 200) throw new Error(`${name} answered ${status}.`);
  return { child, ms: performance.now() - startedAt };
}

async function end(child: ChildProcess): Promise<void> {
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await exited;
}

async function idle(contender: Contender): Promise<Memory> {
  const { child } = await startServing(contender);
  await sleep(IDLE_MS);
  const memory = memoryOf(child.pid ?? 0);
  await end(child);
  return memory;
}

function timeRow(measured: string, ours: number[], bare: number[], withAim: boolean): Row {
  const row = {
    measured,
    ours: spread(ours, wholeMs),
    bound: `bare Node: ${spread(bare, wholeMs)}`,
    ratio: times(median(ours) / median(bare)),
  };
  return withAim ? { ...row, aim: '≤ 300 ms', met: median(ours) <= 300 } : row;
}

function memoryRow(measured: string, ours: number, bare: number, withAim: boolean): Row {
  const row = {
    measured,
    ours: megabytes(ours),
    bound: `bare Node: ${megabytes(bare)}`,
    ratio: times(ours / bare),
  };
  return withAim ? { ...row, aim: '≤ 80 MB', met: ours <= 80 * 1024 * 1024 } : row;
}
