/** What people asked of production in the storm, and the answers. The invariants are checked against it. */

import type { Person } from './environments.ts';
import type { Facts, TaskKill } from './facts.ts';
import type { World } from './world.ts';

/** Nothing was deployed in production before the first promotion. */
export const NO_COMMIT = '0'.repeat(40);

/** A run that takes something to production, or repeats what it has. It needs an approval. */
export interface Asked {
  runId: string;
  /** The one who asked for it. Null for a signed request, of which nobody knows who sent it. */
  asker: Person | null;
  /** The commit and the services that were shown. Null if nobody saw them. */
  shown: { revision: string; services: string[] } | null;
  atNs: bigint;
}

/** A request to approve or reject a run. */
export interface Decision {
  runId: string;
  decision: 'approve' | 'reject';
  by: Person;
  atNs: bigint;
  /** Null without an answer. */
  status: number | null;
}

/** A rollback of a service of production. */
interface Rollback {
  service: string;
  revision: string;
  answered: boolean;
  atNs: bigint;
}

/** A hold without an end of its own, from the answer until somebody first asks for its release. */
interface RecordedHold {
  id: string;
  /** Null: both environments. */
  environment: string | null;
  /** Null: all services. */
  services: readonly string[] | null;
  fromNs: bigint;
  untilNs: bigint | null;
}

export interface ProductionFacts {
  asked: Asked[];
  decisions: Decision[];
  rollbacks: Rollback[];
  holds: RecordedHold[];
  taskKills: TaskKill[];
  /** Descriptions of times at which one environment waited for the other. */
  waits: string[];
}

export function createProductionFacts(): ProductionFacts {
  return {
    asked: [],
    decisions: [],
    rollbacks: [],
    holds: [],
    taskKills: [],
    waits: [],
  };
}

/** Returns the facts in the form that the checks of an environment read. The server and the machine are those of both. */
export function factsOfProduction({ facts, production }: Pick<World, 'facts' | 'production'>): Facts {
  const { asked, rollbacks, taskKills } = production;
  return {
    ...facts,
    baseline: NO_COMMIT,
    accepted: asked.map(({ runId, shown }) => ({
      runId,
      commit: shown?.revision ?? null,
      services: shown?.services ?? null,
    })),
    doubled: [],
    taskKills,
    syncRequests: rollbacks.map(({ service, ...rollback }) => ({ ...rollback, services: [service] })),
  };
}
