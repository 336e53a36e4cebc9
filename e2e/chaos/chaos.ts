/** Chaos: rounds of a storm and a calm against one real server, until a promise does not hold. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startPostgres } from '../../src/stores/postgres/postgres-server.fixture.ts';
import { CLI } from '../support/program.ts';
import { until } from '../support/until.ts';
import { createPromiseCheck } from './calm.ts';
import type { Problem } from './evidence.ts';
import { SERVICE_FOLDERS } from './history.ts';
import { createRandom } from './random.ts';
import { playStorm } from './storm.ts';
import { requestSync } from './storm-requests.ts';
import { createStory } from './story.ts';
import { createWorld, type Database, type World } from './world.ts';

export interface ChaosOptions {
  rounds: number;
  seed: number;
  /** Where the runs are stored. */
  store: 'sqlite' | 'postgres';
  invoke: readonly string[];
  /** The folder of the server's modules. Default: src. */
  source?: string;
  /** The name of the only fault, which then happens in every round. */
  only?: string | undefined;
  /** Receives a line after each round. */
  log(line: string): void;
}

export interface ChaosResult {
  /** The number of rounds that were started. */
  rounds: number;
  /** Empty if all promises held. */
  problems: Problem[];
  story: string;
  /** The folder of the run if there are problems, else null. */
  folder: string | null;
  /** How often each event happened. */
  counts: Record<string, number>;
}

/** Stops after the first round with a problem. The same seed makes the same choices, at slightly different times. */
export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  const { seed, invoke } = options;
  const story = createStory();
  const cli = options.source === undefined ? CLI : join(options.source, 'cli.ts');
  const program = [process.execPath, cli, 'serve'];
  const database = options.store === 'postgres' ? await startDatabase() : null;
  try {
    const world = await createWorld({ invoke, program, database, random: createRandom(seed), story });
    return await playAndKeep(world, options);
  } finally {
    await database?.server.remove();
  }
}

async function startDatabase(): Promise<Database> {
  const server = await startPostgres();
  try {
    return { server, url: await server.createDatabase() };
  } catch (error) {
    await server.remove();
    throw error;
  }
}

async function playAndKeep(world: World, options: ChaosOptions): Promise<ChaosResult> {
  const { stage, story } = world;
  let failed = true;
  try {
    const result = await play(world, options).catch((error: unknown) => ({
      rounds: 0,
      problems: [{ invariant: 'no surprise', detail: String(error) }],
    }));
    failed = result.problems.length > 0;
    if (failed) await keepEvidence(world, result.problems, options.log);
    const folder = failed ? stage.folder : null;
    return { ...result, story: story.text(), folder, counts: countOf(world) };
  } finally {
    await world.close(failed);
  }
}

async function play(
  world: World,
  { rounds, log, only }: ChaosOptions,
): Promise<Pick<ChaosResult, 'rounds' | 'problems'>> {
  const check = createPromiseCheck(world);
  await holdEverything(world);
  for (let round = 1; round <= rounds; round += 1) {
    const startedAt = performance.now();
    const interval = world.random.chance(0.7) ? 1 : 0;
    world.setReconcileInterval(interval);
    world.story.add(`round ${round}, reconcile interval ${interval} s from the next start on`);
    await playStorm(world, only);
    const stormMs = performance.now() - startedAt;
    world.story.add('calm');
    const problems = await check.run();
    const calmMs = performance.now() - startedAt - stormMs;
    const verdict = problems.length === 0 ? 'all promises held' : `${problems.length} broken`;
    log(`round ${round}: storm ${seconds(stormMs)}, calm ${seconds(calmMs)}, ${verdict}`);
    if (problems.length > 0) return { rounds: round, problems };
  }
  return { rounds, problems: [] };
}

/** What counts as deployed was never proven in staging, so each service is synced there once before the first storm. */
async function holdEverything(world: World): Promise<void> {
  const services = Object.keys(SERVICE_FOLDERS);
  if (!(await requestSync(world, { services }))) throw new Error('The first sync of staging was refused.');
  await until('staging to hold every service', async () => {
    const { syncs } = await world.journals.staging.read();
    const done = new Set(syncs.flatMap(({ service, endedNs }) => (endedNs === null ? [] : service)));
    return services.every((service) => done.has(service)) || null;
  });
}

/** Never throws, so that the caller can report the problems even if a file cannot be written. */
async function keepEvidence(
  world: World,
  problems: readonly Problem[],
  log: (line: string) => void,
): Promise<void> {
  for (const { invariant, detail } of problems) world.story.add(`BROKEN ${invariant}: ${detail}`);
  log(`The folder is kept: ${world.stage.folder}`);
  await writeEvidence(world).catch((error: unknown) => {
    log(`The evidence in the folder is incomplete: ${String(error)}`);
  });
}

async function writeEvidence({ stage, server, story, database }: World): Promise<void> {
  await writeFile(join(stage.folder, 'story.txt'), story.text());
  await writeFile(join(stage.folder, 'statuses.json'), JSON.stringify(stage.github.requests, null, 1));
  for (const [index, output] of server.outputs().entries()) {
    await writeFile(join(stage.folder, `server-${index + 1}.log`), output);
  }
  if (database) await writeFile(join(stage.folder, 'store.sql'), database.server.dump(database.url));
}

function countOf({ facts, production, stage }: World): Record<string, number> {
  return {
    pushes: facts.pushes.length,
    'runs accepted': facts.accepted.length,
    'promotions asked': production.asked.length,
    'decisions that counted': production.decisions.filter(({ status }) => status === 200).length,
    'servers killed or stopped': facts.serverKillsNs.length,
    'gits killed': facts.gitKillsNs.length,
    'hardships of the machine': facts.hardships.length,
    'tasks killed': facts.taskKills.length + production.taskKills.length,
    'statuses written': stage.github.requests.filter(({ status }) => status === 201).length,
  };
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
