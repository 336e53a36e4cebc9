/** For tests: the reporter of statuses and comments, between a real store and the local GitHub, on a fast clock. */

import { type LocalGithub, startLocalGithub } from '../../e2e/support/local-github.ts';
import { createGitHubComments } from '../github/github-comments.ts';
import { createStatusWriter } from '../github/github-statuses.ts';
import type { RunStore } from '../runs/run-store.ts';
import { startGitHubReporter } from './github-reporters.ts';
import type { SendingLoop } from './outbox/sending-loop.ts';
import { createFastTime, createStoredRuns, type StoredRuns } from './stored-runs.fixture.ts';

const TOKEN = 'ghp_local';
/** A full commit id, because GitHub takes no others. */
export const FIRST = '1'.repeat(40);
const REPOSITORY = { owner: 'acme', repo: 'platform' };

export interface LocalReporting {
  github: LocalGithub;
  runs: StoredRuns;
  logged: string[];
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
  return {
    github,
    runs,
    logged,
    clock: time.clock,
    async start(store = runs.store, onFailure) {
      await reporter?.stop();
      const access = { apiUrl: github.url, token: TOKEN, version: '1', timeoutMs };
      reporter = startGitHubReporter({
        store,
        setStatus: createStatusWriter(access),
        comments: { store, client: createGitHubComments(access) },
        repository: REPOSITORY,
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
}
