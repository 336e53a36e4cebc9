/** For tests: the status reporter with its comments, between a real store and the local GitHub, on a fast clock. */

import { type LocalGithub, startLocalGithub } from '../../e2e/support/local-github.ts';
import { createGitHubClient } from '../github/github-client.ts';
import { createGitHubComments } from '../github/github-comments.ts';
import type { RunStore } from '../runs/run-store.ts';
import { type StatusReporter, startStatusReporter } from './statuses/status-reporter.ts';
import { createFastTime, createStoredRuns, type StoredRuns } from './stored-runs.fixture.ts';

const TOKEN = 'ghp_local';
/** Full commit ids, as GitHub takes no others. */
export const [FIRST] = ['1'.repeat(40), '2'.repeat(40)] as const;
const REPOSITORY = { owner: 'acme', repo: 'platform' };

export interface LocalReporting {
  github: LocalGithub;
  runs: StoredRuns;
  logged: string[];
  /** Starts the reporter, or stops it and starts another one. */
  start(store?: RunStore, onFailure?: (error: Error) => void): Promise<StatusReporter>;
  /** Now, on its fast clock. */
  clock(): number;
  close(): Promise<void>;
}

export async function createLocalReporting(timeoutMs = 10_000): Promise<LocalReporting> {
  const github = await startLocalGithub({ fullName: 'acme/platform', token: TOKEN });
  const runs = await createStoredRuns();
  const logged: string[] = [];
  const say = (_fields: object, message: string): void => void logged.push(message);
  const time = createFastTime(10);
  let reporter: StatusReporter | null = null;
  return {
    github,
    runs,
    logged,
    clock: time.clock,
    async start(store = runs.store, onFailure) {
      await reporter?.stop();
      const access = { apiUrl: github.url, token: TOKEN, version: '1', timeoutMs };
      reporter = startStatusReporter({
        store,
        client: createGitHubClient(access),
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
