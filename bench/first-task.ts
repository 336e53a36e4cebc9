/**
 * Measures the time from a push to the first line of its first task, against the bare commands that have to run for it.
 */

import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Journal, openJournal } from '../e2e/support/journal.ts';
import { obtainInvoke } from '../e2e/support/obtain-invoke.ts';
import { createPlatformRepository, type PlatformRepository } from '../e2e/support/platform-repository.ts';
import type { Runner } from '../e2e/support/runner.ts';
import type { Bench } from './bench.ts';
import { startBuilt, withFolder } from './support/built-runner.ts';
import { spread, times, wholeMs } from './support/statistics.ts';

const ROUNDS = 10;
const run = promisify(execFile);

export const firstTask: Bench = {
  name: 'From push to task',
  method: `A push changes one service of the example platform. Our time begins when the webhook is sent, and ends with the first line of the service's Python task. The bound runs \`git fetch\`, \`git checkout\` and \`invoke\` of the same task by hand, one after the other, until the same line. There are ${ROUNDS} pushes of each, in turn.`,
  run: () =>
    withFolder('first-task', async (folder) => {
      const invoke = await obtainInvoke({ log: console.log });
      if ('missing' in invoke) throw new Error(invoke.missing);
      const repository = await createPlatformRepository(folder);
      await mkdir(join(folder, 'journal'));
      const journal = openJournal(join(folder, 'journal', 'syncs'));
      const options = {
        folder,
        repositoryPath: repository.path,
        invoke: invoke.argv,
        journalPath: journal.path,
      };
      const runner = await startBuilt(options);
      const byHand = await cloneByHand(folder, repository);
      const ours: number[] = [];
      const bound: number[] = [];
      // The first push syncs all services that were never synced, so it is not counted.
      for (let round = 0; round <= ROUNDS; round += 1) {
        const push = await changeRedis(repository, round);
        const oursMs = await pushAndWait(runner, journal, push);
        const boundMs = await syncByHand({ byHand, folder, invoke: invoke.argv, journal });
        if (round > 0) {
          ours.push(oursMs);
          bound.push(boundMs);
        }
      }
      await runner.stop();
      return [
        {
          measured: 'Webhook sent → first line of the task',
          ours: spread(ours, wholeMs),
          bound: `by hand: ${spread(bound, wholeMs)}`,
          ratio: spread(
            ours.map((value, index) => value / (bound[index] ?? 0)),
            times,
          ),
        },
      ];
    }),
};

async function changeRedis(repository: PlatformRepository, round: number) {
  await repository.write('platform/01.redis/notes.txt', `round ${round}\n`);
  await repository.commit(`Round ${round}`);
  return repository.push();
}

/** Returns the ms until the task started. It waits for the end of the run, so that no two measurements overlap. */
async function pushAndWait(
  runner: Runner,
  journal: Journal,
  push: { ref: string; before: string; after: string },
): Promise<number> {
  const modified = ['platform/01.redis/notes.txt'];
  const body = { ...push, commits: [{ id: push.after, added: [], removed: [], modified }] };
  const sentNs = process.hrtime.bigint();
  const answer = await runner.signedPost('/webhook', body, { headers: { 'x-github-event': 'push' } });
  if (answer.status !== 200) throw new Error(`Not accepted: ${JSON.stringify(answer.body)}`);
  await runner.waitForRun(({ revision }) => revision === push.after, 'succeeded');
  return startOf(journal, push.after, sentNs);
}

/** The journal's clock is the monotonic clock of the machine, which process.hrtime uses, too. */
async function startOf(journal: Journal, commit: string, sinceNs: bigint): Promise<number> {
  const { syncs } = await journal.read();
  const sync = syncs.find((entry) => entry.commit === commit && entry.startedNs >= sinceNs);
  if (!sync) throw new Error(`No task ran at ${commit}.`);
  return Number(sync.startedNs - sinceNs) / 1e6;
}

interface ByHand {
  mirror: string;
  checkout: string;
}

async function cloneByHand(folder: string, repository: PlatformRepository): Promise<ByHand> {
  const mirror = join(folder, 'by-hand.git');
  const checkout = join(folder, 'by-hand');
  await run('git', ['clone', '--quiet', '--bare', repository.path, mirror]);
  await run('git', ['clone', '--quiet', '--shared', mirror, checkout]);
  return { mirror, checkout };
}

async function syncByHand(options: {
  byHand: ByHand;
  folder: string;
  invoke: readonly string[];
  journal: Journal;
}): Promise<number> {
  const { byHand, folder, invoke, journal } = options;
  const { PATH = '' } = process.env;
  const env = { PATH, HOME: folder, PYTHONPATH: byHand.checkout, PYTHONUNBUFFERED: '1' };
  const sentNs = process.hrtime.bigint();
  await run('git', ['fetch', '--quiet', 'origin', '+refs/heads/main:refs/heads/main'], {
    cwd: byHand.mirror,
    env,
  });
  const { stdout } = await run('git', ['rev-parse', 'main'], { cwd: byHand.mirror, env });
  const commit = stdout.trim();
  await run('git', ['checkout', '--quiet', '--detach', commit], { cwd: byHand.checkout, env });
  const [program = '', ...args] = invoke;
  const state = { IAC_JOURNAL: journal.path, IAC_EXAMPLE_STATE: join(folder, 'state-by-hand') };
  await run(program, [...args, 'redis.sync'], {
    cwd: byHand.checkout,
    env: { ...env, ...state, INTERNAL_DOMAIN: 'example.com', IAC_CONFIG_HASH: commit.slice(0, 12) },
  });
  return startOf(journal, commit, sentNs);
}
