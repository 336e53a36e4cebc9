/** The whole app over deployments in a real store, with one token of each role. For tests. */

import type { Hono } from 'hono';
import { openDeployments, SILENT } from '../../triggers/deployments.fixture.ts';
import { createTestAccess, createTestGate } from '../access/access.fixture.ts';
import { createLoginRoutes } from '../access/login-pages.ts';
import { createNotFound } from '../doors/refusals.ts';
import { createApp } from '../frame/app.ts';
import { loadAssets } from '../frame/assets.ts';
import { createMetricsRoutes } from '../metrics/metrics.ts';
import { createDeployRoutes, type DeployRoutesOptions } from './deploy-routes.ts';

const TOKENS = [
  { name: 'vera', role: 'viewer', token: 'viewer-token' },
  { name: 'oscar', role: 'operator', token: 'operator-token' },
  { name: 'ada', role: 'admin', token: 'admin-token' },
] as const;

export async function openDeployApp() {
  const stage = await openDeployments();
  const assets = loadAssets();
  const clock = () => stage.clock.now;
  const gate = createTestGate();
  const access = createTestAccess({ tokens: TOKENS, store: stage.store(), gate, clock });

  /** Builds the app as a new start of the server would. */
  function serve(overrides: Partial<DeployRoutesOptions> = {}) {
    const store = stage.store();
    const { routes, closeStreams } = createDeployRoutes({
      store,
      api: stage.api(),
      access,
      assets,
      allowedOrigins: ['*'],
      runUrl: (runId) => `https://runner.example/runs/${runId}`,
      publicUrl: null,
      ...overrides,
    });
    const app = createApp({
      githubWebhook: (c) => c.text(''),
      syncApi: (c) => c.text(''),
      pages: [
        createLoginRoutes({ access, gate, assets, publicUrl: null }),
        routes,
        createMetricsRoutes({ store, access, failures: gate.failures, assets, publicUrl: null }),
      ],
      notFound: createNotFound({ access, assets }),
      isHealthy: () => true,
      readiness: async () => ({ status: 'ready', checks: {} }),
      log: SILENT,
    });
    return { app, closeStreams };
  }
  return { ...stage, serve };
}

/** Starts a deployment as an operator and returns its id. */
export async function postDeploy(app: Hono, body: object): Promise<string> {
  const response = await app.request('/deploy', {
    method: 'POST',
    headers: { Authorization: 'Bearer operator-token', 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (response.status !== 202) throw new Error(text);
  return String(JSON.parse(text).deployment_id);
}
