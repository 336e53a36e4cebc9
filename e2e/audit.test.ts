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
});

it('Only admins read it, and what is no id or format is refused', async () => {
  expect((await ask('/audit', 'operator')).status).toBe(403);
  expect((await ask('/audit?before=x', 'admin')).status).toBe(400);
  expect((await ask('/audit?format=xml', 'admin')).status).toBe(400);
  const page = await ask('/audit', 'admin', {
    headers: { Authorization: `Bearer ${API_TOKENS.admin}`, Accept: 'text/html' },
  });
  expect(await page.text()).toContain('<h1>Audit</h1>');
});
