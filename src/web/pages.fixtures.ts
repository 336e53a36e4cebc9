/** The pages as a server would compose them, over runs in memory and with one token of each role. */

import { Hono } from 'hono';
import { RequestError } from '../errors.ts';
import { type ApprovalRules, decidersOf, whyNotDecide } from '../runs/sync/promotion.ts';
import type { DeployActionResult } from '../triggers/deploy/deploy-api.ts';
import { createTestAccess, createTestGate, LINK_KEY } from './access/access.fixture.ts';
import { createLoginRoutes } from './access/login-pages.ts';
import { createAssetRoutes, loadAssets } from './frame/assets.ts';
import { requestErrorAnswer } from './frame/error-answer.ts';
import { createRunRoutes, type RunRoutesOptions } from './runs/run-pages.ts';
import { START_AT, type TestRuns } from './runs.fixtures.ts';

export { LINK_KEY };

const TOKENS = [
  { name: 'vera', role: 'viewer', token: 'viewer-token' },
  { name: 'oscar', role: 'operator', token: 'operator-token' },
  { name: 'ada', role: 'admin', token: 'admin-token' },
] as const;

export const AS_VIEWER = { Authorization: 'Bearer viewer-token' };
export const AS_OPERATOR = { Authorization: 'Bearer operator-token' };
export const AS_ADMIN = { Authorization: 'Bearer admin-token' };
export const WANTS_JSON = { Accept: 'application/json' };
const BY_ADMINS: ApprovalRules = { approval: 'any', approvers: null };

export const BROWSER = { Accept: 'text/html,application/xhtml+xml,*/*;q=0.8' };

export function createTestPages(store: TestRuns, overrides: Partial<RunRoutesOptions> = {}) {
  const assets = loadAssets();
  const gate = createTestGate();
  const access = createTestAccess({ tokens: TOKENS, store, gate, clock: () => START_AT });
  const acted: string[] = [];
  const { routes, closeStreams } = createRunRoutes({
    store,
    access,
    assets,
    retry: async (runId, actor) => {
      acted.push(`retry ${runId} by ${actor}`);
      return { status: 'accepted', run: store.add('retried') };
    },
    cancel: async (runId, actor) => {
      acted.push(`cancel ${runId} by ${actor}`);
      return { status: 'refused', reason: 'The run has already ended.' };
    },
    decide: {
      approve: async (runId, actor) => decideInMemory(store, runId, 'approved', actor),
      reject: async (runId, actor) => decideInMemory(store, runId, 'rejected', actor),
    },
    approvals: {
      whyNot: (_run, { name, isAdmin }) => whyNotDecide(BY_ADMINS, { name, isAdmin }, null),
      deciders: () => decidersOf(BY_ADMINS),
    },
    clock: () => START_AT + 3_600_000,
    commitUrl: (sha) => `https://github.com/acme/platform/commit/${sha}`,
    runUrl: (runId) => `https://runner.example/runs/${runId}`,
    publicUrl: null,
    ...overrides,
  });
  const app = new Hono();
  app.onError((error, c) => {
    if (error instanceof RequestError) return requestErrorAnswer(c, error);
    throw error;
  });
  app.route('/', createAssetRoutes(assets));
  app.route('/', createLoginRoutes({ access, gate, assets, publicUrl: null }));
  app.route('/', routes);
  return { app, acted, closeStreams };
}

async function decideInMemory(
  store: TestRuns,
  runId: string,
  decision: 'approved' | 'rejected',
  by: string,
): Promise<DeployActionResult> {
  if ((await store.run(runId))?.state !== 'awaiting_approval') {
    return { status: 'refused', reason: 'There is no plan to decide about.' };
  }
  const subject = (await store.latestEvent(runId, 'run.awaiting_approval'))?.subject ?? '';
  store.append(runId, { type: 'run.decided', decision, by, subject });
  if (decision === 'rejected') {
    const message = `Rejected by ${by}`;
    store.append(runId, {
      type: 'run.finished',
      state: 'cancelled',
      reason: 'rejected',
      message,
      coveredBy: null,
    });
  }
  const run = await store.run(runId);
  return run ? { status: 'done', run } : { status: 'unknown' };
}

/** Signs in like a browser and returns the Cookie header of the session. */
export async function signIn(app: Hono, token: string): Promise<{ Cookie: string }> {
  const response = await app.request('/login', { method: 'POST', body: new URLSearchParams({ token }) });
  const cookie = response.headers.get('Set-Cookie')?.split(';')[0];
  if (response.status !== 303 || cookie === undefined) throw new Error(`Sign-in gave ${response.status}.`);
  return { Cookie: cookie };
}
