/** The overview and the page of a service, as people see them in a real browser, and as JSON. */

import { expect, it } from 'vitest';
import { shareBrowser, signIn } from './support/browser.ts';
import { reachableAddress } from './support/free-port.ts';
import { waitAtGate, writeShellService } from './support/hand-made-service.ts';
import { pushRun } from './support/pushed-run.ts';
import { API_TOKENS } from './support/runner-environment.ts';
import { openGate, shareStage } from './support/shared-stage.ts';

const openPage = shareBrowser();
const scene = shareStage('overview', reachableAddress);
const SERVICE = 'platform/shop';
const FOLDER = 'platform/07.shop';

async function ask(path: string, init: RequestInit = {}) {
  const headers = { Authorization: `Bearer ${API_TOKENS.operator}`, Accept: 'application/json' };
  const response = await fetch(scene().runner.url + path, { headers, ...init });
  return { status: response.status, body: await response.json() };
}

it('The overview says what is live, what is broken, and what to press; and it follows by itself', async (context) => {
  const { page, complaints } = await openPage(context);
  const { stage, runner } = scene();
  await signIn(page, runner.url, API_TOKENS.operator, '/');
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  await writeShellService(
    stage.repository,
    FOLDER,
    `${waitAtGate('shop')}\necho 'The disk is full.' >&2\nexit 3`,
  );
  const { runId, commit } = await pushRun(stage, runner, 'Open the shop');
  const tile = page.locator('.tile', { hasText: SERVICE });
  await page.locator('.now', { hasText: 'Open the shop' }).waitFor();
  await page.locator('.tile[data-state="syncing"]', { hasText: SERVICE }).waitFor();
  await openGate(stage, 'shop');
  await page.locator('.tile[data-state="failed"]', { hasText: SERVICE }).waitFor();
  expect(await page.locator('.headline').textContent()).toContain(
    `at main (${commit.slice(0, 8)}), 1 failed`,
  );
  const row = page.locator('.run-row', { hasText: SERVICE });
  expect(await row.locator('.run-message').textContent()).toContain('The disk is full.');
  expect(await row.getByRole('link', { name: `Last run of ${SERVICE}` }).getAttribute('href')).toBe(
    `/runs/${runId}`,
  );

  const { body: environments } = await ask('/environments');
  expect(environments).toMatchObject({
    environments: [
      {
        name: 'default',
        repository: 'acme/platform',
        head: commit,
        services: { failed: 1 },
        holds: [],
        running: null,
      },
    ],
  });
  const { body: environment } = await ask('/environments/default');
  expect(environment).toMatchObject({
    name: 'default',
    services: expect.arrayContaining([
      expect.objectContaining({
        id: SERVICE,
        state: 'failed',
        commit: null,
        behind_by: null,
        last_run: runId,
        message: 'Exit code 3',
      }),
    ]),
  });
  expect(await ask('/environments/none')).toMatchObject({ status: 404 });

  await writeShellService(stage.repository, FOLDER, 'echo open');
  const repaired = await pushRun(stage, runner, 'Repair the shop');
  await page.locator('.tile[data-state="up_to_date"]', { hasText: SERVICE }).waitFor();
  await page.getByText('Nothing needs anybody.').waitFor();
  expect(await page.locator('.strip a').count()).toBeGreaterThan(1);

  await tile.click();
  await page.getByRole('heading', { name: SERVICE }).waitFor();
  expect(await page.locator('#state').textContent()).toContain('up to date');
  const rows = page.locator('.run-row');
  expect(await rows.nth(0).textContent()).toContain('Repair the shop');
  expect(await rows.nth(1).textContent()).toContain('Open the shop');
  const { body: service } = await ask(`/services/${encodeURIComponent(SERVICE)}`);
  expect(service).toMatchObject({
    id: SERVICE,
    state: 'up_to_date',
    commit: repaired.commit,
    behind_by: 0,
    pins: [],
    history: [
      { run_id: repaired.runId, commit: repaired.commit, subject: 'Repair the shop', outcome: 'succeeded' },
      { run_id: runId, commit, subject: 'Open the shop', outcome: 'failed' },
    ],
  });
  expect(await ask('/services/platform/none')).toMatchObject({ status: 404 });
  expect(complaints).toEqual([]);
});

it('The page of a service takes it back to an earlier outcome, after a question', async (context) => {
  const { page } = await openPage(context);
  const { stage, runner } = scene();
  const folder = 'platform/08.blog';
  await writeShellService(stage.repository, folder, 'echo one');
  const { runId, commit } = await pushRun(stage, runner, 'Write the blog');
  await runner.waitForRun(runId, 'succeeded');
  await writeShellService(stage.repository, folder, 'echo two');
  const second = await pushRun(stage, runner, 'Write more');
  await runner.waitForRun(second.runId, 'succeeded');
  await signIn(page, runner.url, API_TOKENS.operator, '/services/platform/blog');
  page.removeAllListeners('dialog');
  page.once('dialog', (dialog) => dialog.accept());
  await page.getByRole('button', { name: `Roll back to this: ${commit.slice(0, 8)}` }).click();
  await page.waitForURL(/\/runs\//);
  await runner.waitForRun(page.url().split('/').at(-1) ?? '', 'succeeded');
  await page.goto(`${runner.url}/`);
  await page.locator('.tile[data-state="pinned"]', { hasText: 'platform/blog' }).waitFor();
  const { body } = await ask('/services/platform/blog');
  expect(body).toMatchObject({ state: 'pinned', commit, pins: [commit], behind_by: 1 });
  await page.getByRole('button', { name: 'Unpin platform/blog' }).click();
  await page.waitForURL(/\/runs\//);
  await page.goto(`${runner.url}/services/platform/blog`);
  await page.locator('#state', { hasText: 'up to date' }).waitFor();
  await page.getByRole('button', { name: 'Sync' }).click();
  await page.waitForURL(/\/runs\//);
});

it('Operators sync and unpin with an API token, in their own names, and others are refused', async () => {
  const sync = { method: 'POST', body: JSON.stringify({ services: ['platform/redis'] }) };
  const accepted = await ask('/sync', sync);
  expect(accepted).toMatchObject({ status: 200, body: { status: 'accepted', services: ['platform/redis'] } });
  const { run_id: runId } = accepted.body as { run_id: string };
  expect(await ask(`/runs/${runId}`)).toMatchObject({
    body: { trigger: { source: 'sync_api', actor: 'operator' } },
  });
  expect(await ask('/services/platform/redis/unpin', { method: 'POST' })).toMatchObject({
    status: 200,
    body: { services: ['platform/redis'] },
  });
  const wrong = { method: 'POST', body: JSON.stringify({ services: ['platform/none'] }) };
  expect(await ask('/sync', wrong)).toMatchObject({
    status: 400,
    body: { error: expect.stringContaining('platform/none') },
  });
  expect(await ask('/services/platform/redis/unpin', { method: 'POST', body: '{"x":1}' })).toMatchObject({
    status: 400,
  });
  const asViewer = { Authorization: `Bearer ${API_TOKENS.viewer}`, Accept: 'application/json' };
  expect(await ask('/sync', { ...sync, headers: asViewer })).toMatchObject({ status: 403 });
  expect(await ask('/sync', { ...sync, headers: { Authorization: 'Bearer unknown' } })).toMatchObject({
    status: 401,
  });
  expect(await ask('/sync', { ...sync, headers: {} })).toMatchObject({ status: 401 });
});
