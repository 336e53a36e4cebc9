/** Reads what the pages show of a place: where its services stand, what holds it, and what runs. */

import type { Run } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { type Hold, holdsAt } from '../../runs/sync/hold.ts';
import type { Place } from '../../runs/sync/place.ts';
import type { Standing } from '../../runs/sync/standing.ts';
import type { EnvironmentNow } from './standing-json.ts';

/** A place whose services are shown. */
export interface ShownPlace {
  place: Place;
  /** The group of runs whose ledger is shown. */
  scope: string;
  /** The ids of the services at the last fetched branch head. Empty before the first fetch. Never rejects. */
  known(): Promise<readonly string[]>;
  /** Where the services stand now. Never rejects because of git. */
  standing(): Promise<Standing>;
}

export async function readEnvironment(
  store: Pick<RunStore, 'active'>,
  { place, scope, standing }: ShownPlace,
  holds: readonly Hold[],
): Promise<EnvironmentNow> {
  const [found, active] = await Promise.all([standing(), store.active(scope)]);
  const running = active.find(({ state }) => state === 'running') ?? null;
  return { place, standing: found, holds: holdsAt(place, holds), running };
}

/** The runs whose durations say how long the next one takes. */
const MEASURED_RUNS = 9;

/** The median duration, in milliseconds, of the last syncs of a place that succeeded; null if there are none. */
export async function usualDuration(store: Pick<RunStore, 'runs'>, scope: string): Promise<number | null> {
  const filter = { concurrencyGroup: scope, state: 'succeeded', limit: MEASURED_RUNS } as const;
  const durations = (await store.runs(filter)).flatMap(durationOf).sort((one, other) => one - other);
  return durations[Math.floor(durations.length / 2)] ?? null;
}

function durationOf({ startedAt, finishedAt }: Run): number[] {
  return startedAt === null || finishedAt === null ? [] : [finishedAt - startedAt];
}
