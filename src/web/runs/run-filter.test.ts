import { expect, it } from 'vitest';
import { z } from 'zod';
import { AS_VIEWER, BROWSER, createTestPages, WANTS_JSON } from '../pages.fixtures.ts';
import { createTestRuns } from '../runs.fixtures.ts';

const SHA = 'abcdef1234567890abcdef1234567890abcdef12';
const ListBody = z.object({ runs: z.array(z.object({ run_id: z.string() })), next: z.string().nullable() });

function createPages() {
  const store = createTestRuns();
  store.add('tuned', { subject: 'Tune Postgres' });
  store.append('tuned', {
    type: 'step.planned',
    step: 'platform/redis',
    position: 0,
    wave: 1,
    message: 'Its folder changed.',
  });
  const trigger = { source: 'sync_api', actor: 'Vera', deliveryId: null, retryOf: null } as const;
  const input = { branch: 'main', revision: SHA, pullRequest: 7 };
  store.addOther('previewed', { kind: 'preview', input, trigger });
  const staging = { branch: 'release', repository: 'acme/platform', environment: 'staging' };
  store.addOther('staged', {
    kind: 'preview',
    input: { ...input, ...staging },
    trigger: { ...trigger, actor: null },
  });
  const { app } = createTestPages(store);
  const list = async (query: string) => {
    const response = await app.request(`/runs?${query}`, { headers: { ...AS_VIEWER, ...WANTS_JSON } });
    return ListBody.parse(await response.json()).runs.map(({ run_id }) => run_id);
  };
  return { store, app, list };
}

it.for([
  ['q=tune+postgres', ['tuned']],
  ['q=platform%2FRED', ['tuned']],
  ['q=abcdef12', ['staged', 'previewed']],
  ['q=bcdef12', []],
  ['q=vera', ['previewed']],
  ['q=sync_api', []],
  ['q=%25', []],
  ['service=platform%2Fredis', ['tuned']],
  ['service=platform', []],
  ['environment=staging', ['staged']],
  ['environment=default&kind=preview', ['previewed']],
  ['branch=release', ['staged']],
  ['q=&service=&state=&kind=&environment=&branch=', ['staged', 'previewed', 'tuned']],
] as const)('The list of runs with %s has the runs %j', async ([query, expected]) => {
  const { list } = createPages();
  expect(await list(query)).toEqual(expected);
});

it('refuses a text of several lines, and one that is too long', async () => {
  const { app } = createPages();
  for (const query of [`q=${'a'.repeat(201)}`, 'service=a%0Ab', 'branch=%00']) {
    const response = await app.request(`/runs?${query}`, { headers: { ...AS_VIEWER, ...WANTS_JSON } });
    expect([query, response.status]).toEqual([query, 400]);
  }
});

it('keeps the filter in the fields and in the address of older runs, which it finds beyond other ones', async () => {
  const { store, app } = createPages();
  for (let number = 1; number <= 260; number += 1) {
    store.add(`r${number}`, { subject: number <= 60 ? `Needle ${number}` : 'Hay' });
  }
  const headers = { ...AS_VIEWER, ...BROWSER };
  const page = await (await app.request('/runs?q=needle&state=queued', { headers })).text();
  expect(page).toContain('<option value="queued" selected>');
  expect(page).toContain('value="needle"');
  const older = /href="([^"]*)" rel="next"/.exec(page)?.[1]?.replaceAll('&amp;', '&') ?? '';
  expect(older).toBe('/runs?state=queued&q=needle&before=r11');
  const response = await app.request(older, { headers: { ...AS_VIEWER, ...WANTS_JSON } });
  const rest = ListBody.parse(await response.json());
  expect(rest.runs.map(({ run_id }) => run_id)).toEqual(Array.from({ length: 10 }, (_, n) => `r${10 - n}`));
  expect(rest.next).toBeNull();
});
