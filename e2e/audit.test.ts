/** The audit log: who did what, from where and with which result. */

import { expect, it } from 'vitest';
import { z } from 'zod';
import { writeShellService } from './support/hand-made-service.ts';
import { pushRun } from './support/pushed-run.ts';
import { API_TOKENS } from './support/runner-environment.ts';
import { shareStage } from './support/shared-stage.ts';

const scene = shareStage('audit');

const auditSchema = z.object({
  entries: z.array(
    z.strictObject({
      at: z.iso.datetime(),
      actor: z.string(),
      role: z.string(),
      action: z.string(),
      target: z.string(),
      address: z.string(),
      result: z.string().nullable(),
    }),
  ),
  next: z.string().nullable(),
});

function ask(path: string, role: keyof typeof API_TOKENS, init: RequestInit = {}) {
  const headers = { Authorization: `Bearer ${API_TOKENS[role]}`, Accept: 'application/json' };
  return fetch(scene().runner.url + path, { headers, ...init });
}

async function entries(path = '/audit') {
  return auditSchema.parse(await (await ask(path, 'admin')).json());
}

it('Each action of a person is noted, also a refused one, and reading is not', async () => {
  const { stage, runner } = scene();
  await writeShellService(stage.repository, 'platform/07.shop', 'exit 1');
  const { runId } = await pushRun(stage, runner, 'Fail');
  await runner.waitForRun(runId, 'failed');
  const { status } = await fetch(`${runner.url}/login`, {
    method: 'POST',
    body: new URLSearchParams({ token: API_TOKENS.operator }),
    redirect: 'manual',
  });
  expect(status).toBe(303);
  await ask('/runs', 'viewer');
  expect((await ask(`/runs/${runId}/retry`, 'viewer', { method: 'POST' })).status).toBe(403);
  const hold = { method: 'POST', body: JSON.stringify({ reason: 'Freeze' }) };
  const { id } = z.object({ id: z.string() }).parse(await (await ask('/holds', 'operator', hold)).json());
  expect((await ask(`/holds/${id}`, 'operator', { method: 'DELETE' })).status).toBe(204);
  expect((await ask('/holds', 'operator', { method: 'POST', body: '{}' })).status).toBe(400);
  const rollback = { method: 'POST', body: JSON.stringify({ to: 'x' }) };
  await ask('/services/platform%2Fshop/rollback', 'operator', rollback);
  await ask(`/runs/${runId}/retry`, 'operator', { method: 'POST' });
  await ask(`/runs/${runId}/retry`, 'operator', {
    method: 'POST',
    headers: { Authorization: 'Bearer nobody' },
  });
  const found = (await entries()).entries;
  expect(
    found.map(({ actor, role, action, target, result }) => [actor, role, action, target, result]),
  ).toEqual([
    ['operator', 'operator', 'retry', runId, 'done'],
    ['operator', 'operator', 'rollback', 'platform/shop', 'refused (400)'],
    ['operator', 'operator', 'hold', '', 'refused (400)'],
    ['operator', 'operator', 'release', id, 'done'],
    ['operator', 'operator', 'hold', id, 'done'],
    ['viewer', 'viewer', 'retry', runId, 'refused (403)'],
    ['operator', 'operator', 'sign_in', '', 'done'],
  ]);
  expect(found[0]?.address).toMatch(/127\.0\.0\.1/);
  const lines = (await (await ask('/audit?format=jsonl', 'admin')).text()).trim().split('\n');
  expect(lines.map((line) => JSON.parse(line))).toEqual(found);
  const headers = { Authorization: `Bearer ${API_TOKENS.admin}`, Accept: 'text/csv' };
  const csv = await ask('/audit', 'admin', { headers });
  expect(csv.headers.get('Content-Type')).toBe('text/csv; charset=utf-8');
  const rows = (await csv.text()).trimEnd().split('\r\n');
  expect(rows).toHaveLength(found.length + 1);
  expect(rows[0]).toBe('"at","actor","role","action","target","address","result"');
  expect(rows[1]).toContain(`"operator","operator","retry","${runId}"`);
});

const descriptionSchema = z.object({ paths: z.record(z.string(), z.record(z.string(), z.unknown())) });
/** These name nobody: their signature proves only that the sender has the secret. */
const SIGNED = ['/webhook', '/pubsub/push'];

it('Every address that changes something leaves an entry, as the description of the interface lists them', async () => {
  const { runner } = scene();
  const { paths } = descriptionSchema.parse((await runner.getJson('/openapi.json')).body);
  const changing = Object.entries(paths).flatMap(([path, operations]) =>
    Object.keys(operations)
      .filter((method) => method !== 'get' && !SIGNED.includes(path))
      .map((method) => ({ path: path.replace('{number}', '1').replace(/\{\w+\}/g, 'x'), method })),
  );
  expect(changing.length).toBeGreaterThan(10);
  const cookie = await signIn(runner.url);
  // Signing out comes last, because it ends the session of the others.
  changing.sort((one, other) => Number(one.path === '/logout') - Number(other.path === '/logout'));
  for (const { path, method } of changing) {
    const before = (await entries()).entries.length;
    const response = await fetch(runner.url + path, {
      method: method.toUpperCase(),
      headers: { Cookie: cookie, 'Sec-Fetch-Site': 'same-origin' },
      body: path === '/login' ? new URLSearchParams({ token: API_TOKENS.admin }) : '{}',
      redirect: 'manual',
    });
    const found = (await entries()).entries;
    expect({ path, method, entries: found.length }).toEqual({ path, method, entries: before + 1 });
    expect(found[0]).toMatchObject({ actor: 'admin', role: 'admin', result: resultOf(response.status) });
  }
});

function resultOf(status: number): string {
  if (status < 400) return 'done';
  return status < 500 ? `refused (${status})` : `failed (${status})`;
}

async function signIn(url: string): Promise<string> {
  const body = new URLSearchParams({ token: API_TOKENS.admin });
  const response = await fetch(`${url}/login`, { method: 'POST', body, redirect: 'manual' });
  return response.headers.get('Set-Cookie')?.split(';')[0] ?? '';
}

it('Only admins read it, and what is no id or format is refused', async () => {
  expect((await ask('/audit', 'operator')).status).toBe(403);
  expect((await ask('/audit?before=x', 'admin')).status).toBe(400);
  expect((await ask('/audit?format=xml', 'admin')).status).toBe(400);
  const page = await ask('/audit', 'admin', {
    headers: { Authorization: `Bearer ${API_TOKENS.admin}`, Accept: 'text/html' },
  });
  expect(await page.text()).toContain('<h1>Audit</h1>');
});
