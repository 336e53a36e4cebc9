/** Measures syncs of 1,000 services in which none, one, or all have something to do. */

import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Runner } from '../e2e/support/runner.ts';
import type { Bench, Row } from './bench.ts';
import { startBuilt, withFolder } from './support/built-runner.ts';
import { type GeneratedPlatform, generatePlatform } from './support/generated-platform.ts';
import { median, seconds, spread, times } from './support/statistics.ts';
import { timedRun } from './support/timed-run.ts';

const SERVICES = 1_000;
const FILES_PER_SERVICE = 10;
const ROUNDS = 10;

export const noOpSync: Bench = {
  name: 'A sync of 1,000 services',
  method: `A repository has ${SERVICES.toLocaleString('en-US')} services with ${FILES_PER_SERVICE} files each in five waves, and all were synced before. The time is measured as a client sees it: it begins when the signed request is sent, and ends when the end of the run is stored. The tasks are \`true\`. The bound of the first two rows is a bare \`git fetch\` from the same repository, which every sync needs. The bound of the last row starts \`true\` as often, four at a time. Git processes are counted in separate runs, because counting slows the runs down.`,
  run: () =>
    withFolder('no-op-sync', async (folder) => {
      const size = { services: SERVICES, filesPerService: FILES_PER_SERVICE, waves: 5 };
      const platform = await generatePlatform(folder, size);
      const runner = await startBuilt({ folder, repositoryPath: platform.path, invoke: ['true'] });
      const all = await timedRun(runner, () => runner.signedPost('/sync', { all: true }), {});
      const spawned = await spawnMany(SERVICES, 4);
      const mirror = join(folder, 'bare-fetch.git');
      await bareFetch(platform, mirror);
      const unchanged: number[] = [];
      const changed: number[] = [];
      const fetched: number[] = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        unchanged.push(await timedRun(runner, () => runner.signedPost('/sync', { all: true }), NOTHING));
        const push = await preparePush(platform, runner, round);
        changed.push(await timedRun(runner, push, ONE));
        fetched.push(await bareFetch(platform, mirror));
      }
      await runner.stop();
      const processes = await countGit(folder, platform);
      return rows({ all, spawned, unchanged, changed, fetched, processes });
    }),
};

const NOTHING = { message: 'No services required sync' };
const ONE = { message: '1 service(s) synced successfully' };

/** Changes one service. Returns a function that delivers that push. */
async function preparePush(platform: GeneratedPlatform, runner: Runner, round: number) {
  const before = await platform.head();
  const after = await platform.change([round * 7]);
  const folder = `platform/0${((round * 7) % 5) + 1}.service-${String(round * 7).padStart(5, '0')}`;
  const commits = [{ id: after, added: [], removed: [], modified: [`${folder}/compose.yaml`] }];
  const body = { ref: 'refs/heads/main', before, after, commits };
  return () => runner.signedPost('/webhook', body, { headers: { 'x-github-event': 'push' } });
}

async function bareFetch(platform: GeneratedPlatform, mirror: string): Promise<number> {
  await promisify(execFile)('git', ['init', '--quiet', '--bare', mirror]);
  const startedAt = performance.now();
  await promisify(execFile)('git', [
    `--git-dir=${mirror}`,
    'fetch',
    '--quiet',
    platform.path,
    '+refs/heads/main:refs/heads/main',
  ]);
  return performance.now() - startedAt;
}

/** Returns the time in ms of this many processes that do nothing. */
async function spawnMany(count: number, atOnce: number): Promise<number> {
  const startedAt = performance.now();
  let left = count;
  async function work(): Promise<void> {
    for (; left > 0; ) {
      left -= 1;
      await promisify(execFile)('true');
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work));
  return performance.now() - startedAt;
}

/** Counts the git processes of one run without and one with a change. A git on PATH notes each start. */
async function countGit(folder: string, platform: GeneratedPlatform): Promise<{ none: number; one: number }> {
  const { PATH = '' } = process.env;
  const counted = join(folder, 'git-calls');
  const programs = join(folder, 'programs');
  await mkdir(programs);
  await writeFile(
    join(programs, 'git'),
    `#!/bin/sh\necho "$*" >> ${counted}\nPATH='${PATH}' exec git "$@"\n`,
  );
  await chmod(join(programs, 'git'), 0o755);
  const environment = { PATH: `${programs}:${PATH}` };
  const runner = await startBuilt({ folder, repositoryPath: platform.path, invoke: ['true'], environment });
  // The server looks at the branch once after its start, which is not part of a run.
  await timedRun(runner, () => runner.signedPost('/sync', { all: true }), NOTHING);
  await sleep(1_000);
  async function count(
    request: Parameters<typeof timedRun>[1],
    expected: { message: string },
  ): Promise<number> {
    await rm(counted, { force: true });
    await timedRun(runner, request, expected);
    return (await readFile(counted, 'utf8')).trim().split('\n').length;
  }
  const none = await count(() => runner.signedPost('/sync', { all: true }), NOTHING);
  const one = await count(await preparePush(platform, runner, ROUNDS), ONE);
  return { none, one };
}

function rows(measured: {
  all: number;
  spawned: number;
  unchanged: number[];
  changed: number[];
  fetched: number[];
  processes: { none: number; one: number };
}): Row[] {
  const { all, spawned, unchanged, changed, fetched, processes } = measured;
  const ratio = (values: number[]): string =>
    spread(
      values.map((value, index) => value / (fetched[index] ?? 0)),
      times,
    );
  const bound = `git fetch: ${spread(fetched, seconds)}`;
  return [
    {
      measured: `\`/sync\` of all, nothing changed (${processes.none} git processes)`,
      ours: spread(unchanged, seconds),
      bound,
      ratio: ratio(unchanged),
      aim: '≤ 1 s',
      met: median(unchanged) <= 1_000,
    },
    {
      measured: `A push that changes 1 of ${SERVICES.toLocaleString('en-US')} (${processes.one} git processes)`,
      ours: spread(changed, seconds),
      bound,
      ratio: ratio(changed),
    },
    {
      measured: 'The first `/sync` of all, 1,000 tasks',
      ours: seconds(all),
      bound: `1,000 × \`true\`: ${seconds(spawned)}`,
      ratio: times(all / spawned),
    },
  ];
}
