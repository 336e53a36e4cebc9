/** For tests: a reporter between a real store and a scripted GitHub, on a clock that runs by itself. */

import type { SyncRun } from '../runs/run.ts';
import { startGitHubReporter } from './github-reporters.ts';
import type { SendingLoop } from './outbox/sending-loop.ts';
import { type ScriptedGitHub, startScriptedGitHub } from './scripted-github.fixture.ts';
import { aRun, createFastTime, createStoredRuns, type StoredRuns } from './stored-runs.fixture.ts';

export const RUNNING = { state: 'running', chosen: 1, message: 'Syncing 1 service(s)...' } as const;
export const SUCCEEDED = { state: 'succeeded', message: '1 service(s) synced successfully' } as const;
export const SYNCED = 'success: 1 service(s) synced successfully';

const TARGET = {
  owner: 'acme',
  repo: 'platform',
  token: () => 'ghp_x',
  deployments: false,
  serviceStatuses: false,
  environmentUrl: null,
};

export interface Reporting {
  github: ScriptedGitHub;
  runs: StoredRuns;
  /** Messages of the log. */
  logged: string[];
  /** Starts the reporter, or stops it and starts another one. */
  start(): Promise<SendingLoop>;
  /** Stores a run that was requested for the commit `sha`. */
  put(name: string, sha: string, changes?: Partial<SyncRun>): Promise<void>;
  /** Every status sent, in order. */
  seen(): string[];
  /** The ms between each request and the next. */
  gaps(): number[];
  unsettled(): Promise<string[]>;
  close(): Promise<void>;
}

export async function createReporting({
  speed = 1,
  timeoutMs = 10_000,
}: {
  speed?: number;
  timeoutMs?: number;
} = {}): Promise<Reporting> {
  const time = createFastTime(speed);
  const github = await startScriptedGitHub(time.clock);
  const runs = await createStoredRuns();
  const logged: string[] = [];
  const log = {
    info: (_fields: object, message: string) => logged.push(message),
    warn: (_fields: object, message: string) => logged.push(message),
    error: (_fields: object, message: string) => logged.push(message),
  };
  let reporter: SendingLoop | null = null;
  return {
    github,
    runs,
    logged,
    async start() {
      await reporter?.stop();
      reporter = startGitHubReporter({
        store: runs.store,
        targetOf: () => ({ ...TARGET, apiUrl: github.apiUrl }),
        client: { version: '1', timeoutMs },
        comments: false,
        runUrl: (runId) => `https://runner.example/runs/${runId}`,
        log,
        clock: time.clock,
        sleep: time.sleep,
        random: () => 0,
      });
      return reporter;
    },
    put: (id, sha, changes = {}) =>
      runs.put(aRun({ id, concurrencyGroup: id, ...changes }, { revision: sha })),
    seen: () => github.seen.map(({ sha, state, description }) => `${sha} ${state}: ${description}`),
    gaps: () => github.seen.slice(1).map(({ at }, index) => at - (github.seen[index]?.at ?? 0)),
    unsettled: async () =>
      (await runs.store.unreported('commit-status', 1_000)).map(({ id }) => runs.nameOf(id)),
    async close() {
      await reporter?.stop();
      await github.close();
      await runs.close();
    },
  };
}
