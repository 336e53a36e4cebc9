/**
 * The promises are tested through random days. CHAOS_ROUNDS and CHAOS_SEED choose how many days and which ones. Run
 * 200 rounds of `npm run chaos` before a release.
 */

import { expect, it } from 'vitest';
import { withoutPostgres } from '../src/stores/postgres/postgres-server.fixture.ts';
import { type ChaosOptions, runChaos } from './chaos/chaos.ts';
import { describeUnless } from './support/describe-unless.ts';
import { obtainedInvoke } from './support/obtained.ts';

const ROUNDS = Number(process.env.CHAOS_ROUNDS ?? 5);
const SEED = Number(process.env.CHAOS_SEED ?? Math.floor(Math.random() * 2 ** 32));
const LIMIT_MS = 120_000 + ROUNDS * 60_000;

async function holds(store: ChaosOptions['store']): Promise<void> {
  const rounds: string[] = [];
  const log = (line: string) => void rounds.push(line);
  const { problems, story, folder, counts } = await runChaos({
    rounds: ROUNDS,
    seed: SEED,
    store,
    invoke: obtainedInvoke(),
    log,
  });
  if (problems.length > 0) console.log(`${rounds.join('\n')}\n${story}\nSeed ${SEED}; kept in ${folder}`);
  expect(problems).toEqual([]);
  // A storm in which nothing happened proves nothing.
  expect(rounds).toHaveLength(ROUNDS);
  expect(counts.pushes).toBeGreaterThan(0);
}

it(`every promise holds through ${ROUNDS} rounds of chaos (CHAOS_SEED=${SEED})`, {
  timeout: LIMIT_MS,
}, async () => {
  await holds('sqlite');
});

describeUnless(withoutPostgres, 'With a store in PostgreSQL', () => {
  it(`every promise holds through ${ROUNDS} rounds of chaos (CHAOS_SEED=${SEED})`, {
    timeout: LIMIT_MS,
  }, async () => {
    await holds('postgres');
  });
});
