/** What the overview shows. */

import type { Run } from '../../runs/run.ts';
import type { Hold } from '../../runs/sync/hold.ts';
import type { PageOptions } from '../access/guards.ts';
import type { PageFrame } from '../frame/layout.ts';
import type { EnvironmentNow } from '../services/standing-json.ts';

export interface ShownEnvironment extends EnvironmentNow {
  scope: string;
  /** How long a sync usually takes, in milliseconds; null if none has succeeded. */
  usualMs: number | null;
}

export interface OverviewView {
  frame: Omit<PageFrame, 'title'>;
  environments: readonly ShownEnvironment[];
  /** All holds that stand. */
  holds: readonly Hold[];
  /** The runs that await an approval. */
  awaiting: readonly Run[];
  /** The newest syncs, the newest first. */
  pushes: readonly Run[];
  /** What the last runs of failed services say, by `failureKey`. */
  failures: ReadonlyMap<string, Failure>;
  /** Milliseconds since the epoch. */
  now: number;
  commitUrl: PageOptions['commitUrl'];
  /** True if addresses have to name the environment and the repository. */
  namesPlace: boolean;
}

/** What the last run of a failed service says. */
export interface Failure {
  run: Run;
  /** The line of its log that most likely says why; null if it wrote nothing. */
  line: string | null;
}

export function failureKey(runId: string, service: string): string {
  return `${runId} ${service}`;
}
