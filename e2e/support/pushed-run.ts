/** Commits and pushes a change, and returns the run of the push. */

import { expect } from 'vitest';
import { z } from 'zod';
import type { Runner } from './runner.ts';
import type { DetailedRun, RunnerClient } from './runner-client.ts';
import { API_TOKENS } from './runner-environment.ts';
import type { Stage } from './stage.ts';

export interface PushedRun {
  commit: string;
  runId: string;
  /** The signed link. */
  url: string;
}

const acceptedSchema = z.object({ status: z.literal('accepted'), run_id: z.string(), url: z.string() });

/** Commits the changes, pushes them and delivers the webhook, which must be accepted. */
export async function pushRun(
  stage: Stage,
  runner: Runner,
  message = 'Change the platform',
): Promise<PushedRun> {
  const commit = await stage.repository.commit(message);
  const { status, body } = await stage.push(runner);
  expect({ status, body }).toMatchObject({ status: 200, body: { status: 'accepted' } });
  const { run_id: runId, url } = acceptedSchema.parse(body);
  return { commit, runId, url };
}

/**
 * Waits for the run that syncs the commit of a push. A server that looks at the branch may see a commit before its
 * delivery arrives. Then a run of the server covers the run of the push, or leaves nothing to it.
 */
export async function waitForSync(
  runner: RunnerClient,
  runId: string,
  state: 'succeeded' | 'failed' = 'succeeded',
): Promise<DetailedRun> {
  const pushed = await runner.waitForRun(runId, 'final');
  const leftNothing = pushed.state === 'succeeded' && pushed.steps.length === 0 && pushed.revision !== null;
  if (!leftNothing) return runner.waitForRun(runId, state);
  return runner.waitForRun((run) => run.run_id !== runId && run.revision === pushed.revision, state);
}

/** The stored log of a run, or of one of its steps, as text. */
export async function readLog(runner: Runner, runId: string, step?: string): Promise<string> {
  const query = step === undefined ? '' : `?${new URLSearchParams({ step })}`;
  const response = await fetch(`${runner.url}/runs/${runId}/log${query}`, {
    headers: { authorization: `Bearer ${API_TOKENS.viewer}` },
    signal: AbortSignal.timeout(60_000),
  });
  expect(response.status).toBe(200);
  return response.text();
}

/** A page of the server as a signed-in viewer gets it. Throws if the server does not answer with a page in time. */
export async function readPage(
  { url }: Pick<Runner, 'url'>,
  path: string,
  timeoutMs = 60_000,
): Promise<string> {
  const response = await fetch(url + path, {
    headers: { accept: 'text/html', authorization: `Bearer ${API_TOKENS.viewer}` },
    signal: AbortSignal.timeout(timeoutMs),
  });
  if (!response.ok) throw new Error(`${path} was answered ${response.status}: ${await response.text()}`);
  return response.text();
}
