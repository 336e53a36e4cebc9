/** For tests: the reporter of statuses and comments, between a real store and the local GitHub, on a fast clock. */

import { type LocalGithub, startLocalGithub } from '../../e2e/support/local-github.ts';
import type { RunStore } from '../runs/run-store.ts';
import { startGitHubReporter } from './github-reporters.ts';
import type { GitHubTarget, TargetOf } from './github-target.ts';
import type { SendingLoop } from './outbox/sending-loop.ts';
import { createFastTime, createStoredRuns, type StoredRuns } from './stored-runs.fixture.ts';

const TOKEN = 'ghp_local';
/** A full commit id, because GitHub takes no others. */
export const FIRST = '1'.repeat(40);

/** The target of all runs: the repository of the local GitHub. */
export function aTarget(github: LocalGithub, changes: Partial<GitHubTarget> = {}): GitHubTarget {
  const [owner = '', repo = ''] = github.fullName.split('/');
  return {
    owner,
    repo,
    apiUrl: github.url,
    token: () => github.token,
    deployments: false,
    serviceStatuses: false,
    environmentUrl: null,
    ...changes,
  };
}

export interface LocalReporting {
  github: LocalGithub;
  runs: StoredRuns;
  logged: string[];
  /** Where runs are reported to. */
  targetOf: TargetOf;
  /** Starts the reporter, or stops it and starts another one. */
  start(store?: RunStore, onFailure?: (error: Error) => void): Promise<SendingLoop>;
  /** Now, on the fast clock. */
  clock(): number;
  close(): Promise<void>;
}

export async function createLocalReporting(timeoutMs = 10_000): Promise<LocalReporting> {
  const github = await startLocalGithub({ fullName: 'acme/platform', token: TOKEN });
  const runs = await createStoredRuns();
  const logged: string[] = [];
  const say = (_fields: object, message: string): void => void logged.push(message);
  const time = createFastTime(10);
  let reporter: SendingLoop | null = null;
  const reporting: LocalReporting = {
    github,
    runs,
    logged,
    targetOf: () => aTarget(github),
    clock: time.clock,
    async start(store = runs.store, onFailure) {
      await reporter?.stop();
      reporter = startGitHubReporter({
        store,
        targetOf: (run) => reporting.targetOf(run),
        client: { version: '1', timeoutMs },
        comments: true,
        runUrl: (runId) => `https://runner.example/runs/${runId}`,
        log: { info: say, warn: say, error: say },
        random: () => 0,
        onFailure,
        ...time,
      });
      return reporter;
    },
    async close() {
      await reporter?.stop();
      await github.close();
      await runs.close();
    },
  };
  return reporting;
}
