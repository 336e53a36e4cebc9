/** Every answer of a real server against its own description at /openapi.json. */

import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { beforeAll, expect, it } from 'vitest';
import { z } from 'zod';
import { writeShellService } from './support/hand-made-service.ts';
import { pushRun } from './support/pushed-run.ts';
import { API_TOKENS } from './support/runner-environment.ts';
import { shareStage } from './support/shared-stage.ts';

const scene = shareStage('openapi');

const responseSchema = z.looseObject({
  content: z
    .record(z.string(), z.looseObject({ schema: z.record(z.string(), z.unknown()).optional() }))
    .optional(),
});
const documentSchema = z.looseObject({
  openapi: z.literal('3.1.0'),
  paths: z.record(
    z.string(),
    z.record(z.string(), z.looseObject({ responses: z.record(z.string(), responseSchema) })),
  ),
});

const ajv = new Ajv2020({ strict: false, allErrors: true });
addFormats.default(ajv);
let paths: z.output<typeof documentSchema>['paths'] = {};
const asked = new Set<string>();

/** Sends a request, and checks that its status and the fields of its answer are described. */
async function ask(method: 'get' | 'post' | 'delete', path: string, address = path, init: RequestInit = {}) {
  asked.add(`${method} ${path}`);
  const headers = { Authorization: `Bearer ${API_TOKENS.admin}`, Accept: 'application/json' };
  const response = await fetch(scene().runner.url + address, {
    method: method.toUpperCase(),
    redirect: 'manual',
    headers,
    ...init,
  });
  const body = await response.text();
  const where = `${method} ${address}: ${response.status} ${body.slice(0, 500)}`;
  const described = paths[path]?.[method]?.responses[response.status];
  expect(described, where).toBeDefined();
  const [type = ''] = (response.headers.get('Content-Type') ?? '').split(';');
  if (described?.content === undefined) return { status: response.status, body: null };
  expect(Object.keys(described.content), where).toContain(type);
  const schema = described.content[type]?.schema;
  const json: unknown = type === 'application/json' ? JSON.parse(body) : null;
  if (schema !== undefined) {
    const check = ajv.compile(schema);
    expect(check(json) ? [] : check.errors, where).toEqual([]);
  }
  return { status: response.status, body: json };
}

beforeAll(async () => {
  const response = await fetch(`${scene().runner.url}/openapi.json`);
  paths = documentSchema.parse(await response.json()).paths;
});

it('Every address answers with what the description says, and with nothing else', async () => {
  const { stage, runner } = scene();
  await writeShellService(stage.repository, 'platform/07.bad', "echo 'no disk' >&2\nexit 3");
  const { runId, commit } = await pushRun(stage, runner, 'Fail once');
  await runner.waitForRun(runId, 'failed');
  const post = (body: object) => ({ body: JSON.stringify(body) });

  for (const path of [
    '/health',
    '/ready',
    '/openapi.json',
    '/login',
    '/environments',
    '/services',
    '/runs',
    '/deliveries',
    '/audit',
    '/sessions',
    '/workers',
    '/metrics',
    '/deploy',
    '/holds',
    '/',
  ])
    await ask('get', path);
  await ask('get', '/environments/{name}', '/environments/default');
  await ask('get', '/environments/{name}', '/environments/none');
  await ask('get', '/services/{id}', '/services/platform/bad');
  await ask('get', '/services/{id}', '/services/platform/redis');
  await ask('get', '/services/{id}', '/services/none');
  for (const [suffix, query] of [
    ['', ''],
    ['/log', '?from=1'],
    ['/log.txt', ''],
    ['/plan', ''],
    ['/events', ''],
  ] as const)
    await ask('get', `/runs/{id}${suffix}`, `/runs/${runId}${suffix}${query}`);
  await ask('get', '/runs/{id}', '/runs/none');
  await ask('get', '/deliveries/{number}', '/deliveries/1');
  const held = await ask('post', '/holds', '/holds', post({ reason: 'Freeze', services: ['platform/bad'] }));
  const { id } = z.object({ id: z.string() }).parse(held.body);
  await ask('post', '/holds', '/holds', post({}));
  await ask('get', '/holds');
  await ask('get', '/holds/{id}', `/holds/${id}`);
  await ask('get', '/services', '/services');
  await ask('get', '/environments/{name}', '/environments/default');
  await ask('delete', '/holds/{id}', `/holds/${id}`);
  await ask('delete', '/holds/{id}', `/holds/${id}`);
  await ask('post', '/sync', '/sync', post({ services: ['platform/redis'] }));
  await ask('post', '/sync', '/sync', post({ services: ['none'] }));
  await ask('post', '/services/{id}/rollback', '/services/platform/redis/rollback', post({ to: commit }));
  await ask('post', '/services/{id}/rollback', '/services/platform/redis/rollback', post({ to: 'x' }));
  await ask('post', '/services/{id}/unpin', '/services/platform/redis/unpin', post({}));
  for (const action of ['retry', 'retry', 'cancel', 'approve', 'reject'])
    await ask('post', `/runs/{id}/${action}`, `/runs/${runId}/${action}`);
  await ask('post', '/deliveries/{number}/replay', '/deliveries/1/replay');
  await ask('get', '/promote', '/promote?environment=default');
  await ask('post', '/promote', '/promote', post({ environment: 'default' }));
  await ask('post', '/deploy', '/deploy', post({}));
  await ask('get', '/audit', '/audit?before=x');
  await ask('post', '/sessions/{id}/end', '/sessions/none/end', post({}));
  await ask('get', '/runs', '/runs', { headers: { Accept: 'application/json' } });
  await ask('post', '/holds', '/holds', {
    ...post({ reason: 'x' }),
    headers: { Authorization: `Bearer ${API_TOKENS.viewer}` },
  });

  const elsewhere = [
    // These have tests of their own: streams that stay open, deployments, signed doors, and forms.
    'get /changes',
    'get /jobs/{id}/stream',
    'post /webhook',
    'post /pubsub/push',
    'post /holds/{id}/release',
    'get /login/oidc',
    'get /login/oidc/callback',
    'post /login',
    'post /logout',
    'get /deploy/{id}/status',
    'get /deploy/{id}/logs',
    'post /deploy/{id}/approve',
    'post /deploy/{id}/reject',
    'post /deploy/{id}/cancel',
  ];
  const described = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method} ${path}`),
  );
  expect(described.filter((one) => !asked.has(one)).sort()).toEqual(elsewhere.sort());
});
