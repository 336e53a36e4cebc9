/**
 * The evidence for the invariants, read at one moment. It contains none of the server's own statements about its
 * success.
 */

import { z } from 'zod';
import type { JournalContent, JournalEntry } from '../support/journal.ts';
import type { Runner } from '../support/runner.ts';
import type { EnvironmentName } from './environments.ts';
import type { Facts } from './facts.ts';
import { createHistoryReader, type History } from './history.ts';
import { factsOfProduction, NO_COMMIT } from './production-facts.ts';
import type { World } from './world.ts';

/** A finding. `service` is set if a sync of that service could repair it. */
export interface Problem {
  invariant: string;
  detail: string;
  service?: string;
}

/** The evidence about one environment. */
export interface Evidence {
  facts: Facts;
  journal: JournalContent;
  history: History;
  /**
   * The states of all runs of the environment that the server lists or was asked about, by id. Null means that the
   * server has no such run.
   */
  runs: ReadonlyMap<string, string | null>;
  /** The runs that did what a hold kept an earlier run from doing, each with that run, whose approval counts. */
  restOf: ReadonlyMap<string, string>;
}

export const FINAL: ReadonlySet<string> = new Set([
  'succeeded',
  'failed',
  'errored',
  'cancelled',
  'timed_out',
  'superseded',
]);

const runSchema = z.looseObject({
  run_id: z.string(),
  state: z.string(),
  environment: z.string(),
  rest_of: z.string().optional(),
});
const runsSchema = z.array(runSchema);

/** Runs in a final state stay in it, so the reader does not ask about them again. */
export function createEvidenceReader(
  world: World,
  environment: EnvironmentName,
): (server: Runner) => Promise<Evidence> {
  const { stage, journals } = world;
  const settled = new Map<string, string>();
  const firstRuns = new Map<string, string>();
  const readHistory = createHistoryReader(stage.repository.path);

  async function readRuns(server: Runner, facts: Facts): Promise<Map<string, string | null>> {
    const runs = new Map<string, string | null>(settled);
    const listed = runsSchema.parse(await server.runs()).filter((run) => run.environment === environment);
    for (const { run_id: id, state } of listed) runs.set(id, state);
    for (const { runId } of facts.accepted) {
      if (runs.has(runId)) continue;
      const answer = await server.getJson(`/runs/${runId}`);
      runs.set(runId, answer.status === 200 ? runSchema.parse(answer.body).state : null);
    }
    for (const [id, state] of runs) if (state !== null && FINAL.has(state)) settled.set(id, state);
    return runs;
  }

  /** A run that has run a task is asked about once. */
  async function readRests(server: Runner, { syncs }: JournalContent): Promise<Map<string, string>> {
    for (const { runId } of syncs) {
      if (firstRuns.has(runId)) continue;
      const answer = await server.getJson(`/runs/${runId}`);
      if (answer.status === 200) firstRuns.set(runId, runSchema.parse(answer.body).rest_of ?? runId);
    }
    return new Map([...firstRuns].filter(([runId, first]) => runId !== first));
  }

  return async (server) => {
    const facts = environment === 'production' ? factsOfProduction(world) : world.facts;
    const runs = await readRuns(server, facts);
    const journal = await journals[environment].read();
    const commits = [
      facts.baseline,
      ...facts.pushes.flatMap(({ before, after }) => [before, after]),
      ...journal.syncs.map(({ commit }) => commit),
    ];
    const known = commits.filter((commit) => commit !== '-' && commit !== NO_COMMIT);
    const restOf = await readRests(server, journal);
    return { facts, journal, runs, restOf, history: await readHistory(known) };
  };
}

/** The successful syncs of a service, oldest first. */
export function completed({ journal }: Evidence, service: string): JournalEntry[] {
  return journal.syncs.filter(
    (entry) => entry.service === service && entry.endedNs !== null && !entry.failed,
  );
}
