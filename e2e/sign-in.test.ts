/** Sign-in by OpenID Connect at a real provider, and the sessions of people. */

import { expect, it, onTestFinished } from 'vitest';
import { shareBrowser, signIn } from './support/browser.ts';
import { reachableAddress } from './support/free-port.ts';
import { OIDC_CLIENT, type People, signInAtProvider, startOidcProvider } from './support/oidc-provider.ts';
import { API_TOKENS } from './support/runner-environment.ts';
import { setTestStage } from './support/test-stage.ts';

const openPage = shareBrowser();

const PEOPLE: People = {
  grace: { email: 'grace@example.com', groups: ['staff', 'platform-admins'] },
  olga: { email: 'olga@example.com', groups: ['platform'] },
  otto: { email: 'otto@example.com', groups: ['accounting'] },
  // The name of an API token.
  admin: { groups: ['platform'] },
};

async function startWithProvider(changes: Record<string, string> = {}) {
  const stage = await setTestStage('sign-in');
  const { PUBLIC_URL, ...address } = await reachableAddress();
  const provider = await startOidcProvider(`${PUBLIC_URL}/login/oidc/callback`, PEOPLE);
  onTestFinished(() => provider.close());
  const environment = {
    ...address,
    PUBLIC_URL,
    OIDC_ISSUER: provider.issuer,
    OIDC_CLIENT_ID: OIDC_CLIENT.id,
    OIDC_CLIENT_SECRET: OIDC_CLIENT.secret,
    OIDC_ROLES: 'groups:platform=operator, groups:platform-admins=admin, groups:staff=viewer',
    OIDC_SCOPES: 'openid profile email groups',
    ...changes,
  };
  const runner = await stage.start({ environment });
  return {
    runner: { ...runner, url: PUBLIC_URL },
    provider,
    restart: (more: object) => stage.start({ environment: { ...environment, ...more } }),
  };
}

it('People sign in at the provider, come back to the page that they wanted, and act in their own names', async (context) => {
  const { runner, provider } = await startWithProvider();
  const { page, complaints } = await openPage(context);
  await page.goto(`${runner.url}/audit?x=1`);
  await page.getByRole('link', { name: `Sign in at ${new URL(provider.issuer).host}` }).click();
  await signInAtProvider(page, 'grace');
  await page.waitForURL(`${runner.url}/audit?x=1`);
  // What the pages of the provider lack is not ours.
  complaints.length = 0;
  await page.locator('.account', { hasText: 'grace@example.com admin' }).waitFor();
  const row = page.locator('.run-row', { hasText: 'grace@example.com' });
  expect(await row.locator('.run-title').textContent()).toBe('sign in');
  expect(runner.output()).not.toContain(OIDC_CLIENT.secret);

  const second = await openPage(context);
  await signIn(second.page, runner.url, API_TOKENS.operator, '/sessions');
  // An operator sees the own session only.
  expect(await second.page.locator('.run-row').count()).toBe(1);
  await page.goto(`${runner.url}/sessions`);
  expect(await page.locator('.run-row').count()).toBe(2);
  await page.getByRole('button', { name: /End the session of operator/ }).click();
  await page.locator('.run-row').nth(1).waitFor({ state: 'detached' });
  expect(complaints).toEqual([]);
  await second.page.goto(`${runner.url}/runs`);
  expect(new URL(second.page.url()).pathname).toBe('/login');
});

it('Whoever has no role, or the name of a token, does not get in', async (context) => {
  const { runner } = await startWithProvider();
  for (const [login, why] of [
    ['otto', 'No rule of OIDC_ROLES gives otto@example.com a role.'],
    ['admin', 'admin is the name of an API token'],
  ] as const) {
    const { page } = await openPage(context);
    await page.goto(`${runner.url}/login/oidc?next=/runs`);
    await signInAtProvider(page, login);
    await page.getByText(why).waitFor();
    await page.goto(`${runner.url}/runs`);
    expect(new URL(page.url()).pathname).toBe('/login');
  }
});

it('A session ends with the rules that gave its role, and a callback counts only for the browser that began', async (context) => {
  const { runner, restart } = await startWithProvider();
  const { page } = await openPage(context);
  await page.goto(`${runner.url}/login/oidc?next=//evil.example/`);
  await signInAtProvider(page, 'olga');
  await page.waitForURL(`${runner.url}/`);
  await page.locator('.account', { hasText: 'olga@example.com operator' }).waitFor();

  const forged = await fetch(`${runner.url}/login/oidc/callback?code=x&state=y`, { redirect: 'manual' });
  expect([forged.status, forged.headers.getSetCookie().join()]).toEqual([
    403,
    expect.not.stringMatching(/session=\w/),
  ]);
  await runner.stop();
  await restart({ OIDC_ROLES: 'groups:platform=viewer' });
  await page.goto(`${runner.url}/runs`);
  expect(new URL(page.url()).pathname).toBe('/login');
});

it('A provider that is away says so on a page, and tokens go on working', async () => {
  const { runner, provider } = await startWithProvider();
  await provider.close();
  const answer = await fetch(`${runner.url}/login/oidc`, {
    redirect: 'manual',
    headers: { Accept: 'text/html' },
  });
  expect(answer.status).toBe(502);
  expect(await answer.text()).toContain('did not work. Try again, or sign in with an API token.');
  expect(runner.output()).toContain('a sign-in by OpenID Connect failed');
  const headers = { Authorization: `Bearer ${API_TOKENS.viewer}`, Accept: 'application/json' };
  const sessions = await fetch(`${runner.url}/sessions`, { headers });
  expect({ status: sessions.status, body: await sessions.json() }).toEqual({
    status: 200,
    body: { sessions: [] },
  });
});
