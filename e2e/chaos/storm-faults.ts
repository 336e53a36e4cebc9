/** Faults of a storm: killed servers, gits and tasks, restarts, and a GitHub that fails. */

import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { MISBEHAVIOURS } from '../support/github-misbehaviour.ts';
import { processesMentioning } from '../support/processes.ts';
import { until } from '../support/until.ts';
import { nowNs } from './facts.ts';
import { holdTask, SLOW_SERVICE } from './slow-service.ts';
import type { StormEvent } from './storm-event.ts';
import { deliver, pushChange, pushTask, taskStart } from './storm-pushes.ts';
import type { World } from './world.ts';

/** Waits until the server is busy, so that a fault has an effect. */
async function lead({ server, random }: World): Promise<void> {
  await server.up();
  await sleep(random.between(0, 900));
}

async function killServer(world: World): Promise<void> {
  await lead(world);
  await killNow(world);
}

async function killNow(world: World): Promise<void> {
  world.server.hit('SIGKILL');
  await world.server.revive(world.random.between(0, 300));
}

/** The server is killed as soon as one client has its 2xx. The runs of all clients that got one must be on the disk. */
async function killAtAnswer(world: World): Promise<void> {
  const push = await pushChange(world);
  await world.server.up();
  const answers = Array.from({ length: 4 }, () => deliver(world, push, { how: 'one of four deliveries' }));
  await Promise.race(answers);
  await killNow(world);
  await Promise.all(answers);
}

async function killWhileAnswering(world: World): Promise<void> {
  const push = await pushChange(world);
  const answer = deliver(world, push);
  await sleep(world.random.between(0, 40));
  await killNow(world);
  await answer;
}

/**
 * The slow service's first sync of a commit outlives the server that started it, and still runs when the next sync
 * starts.
 */
async function orphanTask(world: World): Promise<void> {
  const letGo = holdTask(world, 'staging', await pushTask(world, [SLOW_SERVICE]));
  try {
    world.server.hit('SIGKILL');
    const killedNs = nowNs();
    await world.server.revive(0);
    await taskStart(world, [SLOW_SERVICE], killedNs);
  } finally {
    letGo();
  }
}

async function restart(world: World): Promise<void> {
  await lead(world);
  world.server.hit('SIGTERM');
  await world.server.revive(world.random.between(0, 100));
}

async function killWhileStarting(world: World): Promise<void> {
  await lead(world);
  world.server.hit('SIGKILL');
  await world.server.stillborn(world.random.between(150, 900));
  await world.server.revive(0);
}

/** A push while no server listens. Only the next start can find it, because no later server looks again. */
async function pushWhileDown(world: World): Promise<void> {
  world.setReconcileInterval(0);
  world.server.hit('SIGKILL');
  await pushChange(world);
  await world.server.revive(0);
}

/** Kills a git that the server itself started, and none that tasks run. Most of them live for a few milliseconds. */
async function killGit({ facts, story, server }: World): Promise<void> {
  for (let tries = 0; tries < 2_000; tries += 1) {
    const pid = findGit(server.current()?.pid);
    if (pid !== null && kill(pid)) {
      facts.gitKillsNs.push(nowNs());
      story.add(`SIGKILL to git ${pid}`);
      return;
    }
    await sleep(1);
  }
}

function findGit(serverPid: number | undefined): number | null {
  if (serverPid === undefined) return null;
  try {
    const children = readFileSync(`/proc/${serverPid}/task/${serverPid}/children`, 'utf8').split(' ');
    const git = children.find((pid) => pid !== '' && readFileSync(`/proc/${pid}/comm`, 'utf8') === 'git\n');
    return git === undefined ? null : Number(git);
  } catch {
    // One of the processes ended meanwhile.
    return null;
  }
}

async function killTask({ stage, facts, production, story }: World): Promise<void> {
  const victim = await until('a task to kill', () => findTask(stage.folder), { timeoutMs: 3_000 }).catch(
    () => null,
  );
  if (!victim) return;
  const { pid, environment, ...task } = victim;
  if (!kill(pid)) return;
  const { taskKills } = environment === 'production' ? production : facts;
  taskKills.push({ ...task, atNs: nowNs() });
  story.add(`SIGKILL to the task of ${task.service} in ${environment} at ${task.commit.slice(0, 8)}`);
}

async function findTask(folder: string) {
  for (const { pid, command } of await processesMentioning(`${folder}/`)) {
    if (!/\.sync$/.test(command)) continue;
    const text = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
    const variables = new Map(text.split('\0').map((entry) => split(entry)));
    const service = variables.get('IAC_SERVICE');
    const commit = variables.get('IAC_COMMIT');
    const runId = variables.get('IAC_RUN_ID');
    const environment = variables.get('IAC_ENVIRONMENT');
    if (service && commit && runId) return { pid, service, commit, runId, environment };
  }
  return null;
}

function split(entry: string): [name: string, value: string] {
  const at = entry.indexOf('=');
  return [entry.slice(0, at), entry.slice(at + 1)];
}

function kill(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL');
  } catch {
    // It ended meanwhile.
    return false;
  }
}

/**
 * The fault ends after a number of requests and not after a time, so that it also affects the last statuses, which
 * are sent after the storm.
 */
async function failGithub({ stage, random, story }: World): Promise<void> {
  const { serverError, htmlPage, truncated, reset, cut } = MISBEHAVIOURS;
  const how = random.pick([serverError, htmlPage, truncated, reset, cut]);
  const times = random.between(1, 2);
  const description = how.kind === 'answer' ? `answers ${how.status}` : how.kind;
  story.add(`GitHub fails the next ${times} statuses: ${description}`);
  stage.github.misbehave({ how, times, method: 'POST' });
}

export const faults: readonly StormEvent[] = [
  { name: 'kill', weight: 3, happen: killServer },
  { name: 'kill at answer', weight: 3, happen: killAtAnswer },
  { name: 'kill while answering', weight: 2, happen: killWhileAnswering },
  { name: 'orphan', weight: 3, happen: orphanTask },
  { name: 'restart', weight: 2, happen: restart },
  { name: 'kill while starting', weight: 2, happen: killWhileStarting },
  { name: 'down', weight: 3, happen: pushWhileDown },
  { name: 'git', weight: 2, happen: killGit },
  { name: 'task', weight: 2, happen: killTask },
  { name: 'GitHub', weight: 4, happen: failGithub },
];
