/** Measures whether many stored or queued runs make the file slower. */

import { join } from 'node:path';
import type { RunStore } from '../src/runs/run-store.ts';
import { createSqliteStore } from '../src/stores/sqlite/sqlite-store.ts';
import type { Bench, Row } from './bench.ts';
import { acceptedPerSecond, allAtOnce, claim, deployment, FINISHED, timed } from './stores.ts';
import { withFolder } from './support/built-runner.ts';
import { median, perSecond, spread, times } from './support/statistics.ts';

const ROUNDS = 7;
const ENDED = 50_000;
const LEAST_RATIO = 0.95;
const GROUPS = 10_000;
const FEW_GROUPS = 500;
const CLAIMS = 50;
const MOST_MS = 1;

export const fullStore: Bench = {
  name: 'A full store',
  method: `Two SQLite files through the port of the store, in turn, ${ROUNDS} rounds after one that warms up. First, runs are accepted, 32 at once, by a store with ${ENDED.toLocaleString('en-US')} runs that have ended and by an empty one. Then ${CLAIMS} runs are claimed one after the other, each by a commit of its own, where ${GROUPS.toLocaleString('en-US')} groups have a queued run, and where ${FEW_GROUPS} have one.`,
  run: () =>
    withFolder('full-store', async (folder) => {
      const open = (name: string) => createSqliteStore({ directory: join(folder, name) });
      const [ended, empty] = [await open('ended'), await open('empty')];
      const [many, few] = [await open('many'), await open('few')];
      try {
        await storeEnded(ended);
        await allAtOnce((number) => many.enqueue(deployment(number)), GROUPS);
        await allAtOnce((number) => few.enqueue(deployment(number)), FEW_GROUPS);
        const accepted = await inTurn([ended, empty], acceptedPerSecond);
        const claimed = await inTurn([many, few], msPerClaim);
        return [acceptedRow(accepted), claimedRow(claimed)];
      } finally {
        for (const store of [ended, empty, many, few]) await store.close();
      }
    }),
};

/** Runs of one group, all but one of which are ended by the claim of the newest. */
async function storeEnded(store: RunStore): Promise<void> {
  const request = (number: number) => ({ ...deployment(number), concurrencyGroup: 'all', coalesce: true });
  await allAtOnce((number) => store.enqueue(request(number)), ENDED);
  await store.append((await claim(store)).lease, [FINISHED]);
}

async function msPerClaim(store: RunStore): Promise<number> {
  const took = await timed(async () => {
    for (let done = 0; done < CLAIMS; done += 1) await claim(store);
  });
  return took / CLAIMS;
}

type Pair<T> = readonly [full: T, other: T];

async function inTurn(
  [full, other]: Pair<RunStore>,
  measure: (store: RunStore) => Promise<number>,
): Promise<Pair<number[]>> {
  const results: Pair<number[]> = [[], []];
  for (let round = 0; round <= ROUNDS; round += 1) {
    const figures = [await measure(full), await measure(other)] as const;
    if (round === 0) continue;
    results[0].push(figures[0]);
    results[1].push(figures[1]);
  }
  return results;
}

function acceptedRow([full, empty]: Pair<number[]>): Row {
  const ratios = full.map((rate, round) => rate / (empty[round] ?? 0));
  return {
    measured: `Runs accepted with ${ENDED.toLocaleString('en-US')} stored runs`,
    ours: spread(full, perSecond),
    bound: `an empty store: ${spread(empty, perSecond)}`,
    ratio: spread(ratios, times),
    aim: `≥ ${LEAST_RATIO}×`,
    met: median(ratios) >= LEAST_RATIO,
  };
}

function claimedRow([many, few]: Pair<number[]>): Row {
  const more = many.map((ms, round) => ms - (few[round] ?? 0));
  const show = (ms: number): string => `${ms.toFixed(2)} ms`;
  return {
    measured: `A claim with ${GROUPS.toLocaleString('en-US')} queued groups`,
    ours: spread(many, show),
    bound: `${FEW_GROUPS} queued groups: ${spread(few, show)}`,
    ratio: `${spread(more, show)} more`,
    aim: `≤ ${MOST_MS} ms more`,
    met: median(more) <= MOST_MS,
  };
}
