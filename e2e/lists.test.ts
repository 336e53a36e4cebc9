/** The filter bar and the keys of the lists, in a real browser. */

import { expect, it } from 'vitest';
import { shareBrowser, signIn } from './support/browser.ts';
import { reachableAddress } from './support/free-port.ts';
import { writeShellService } from './support/hand-made-service.ts';
import { pushRun } from './support/pushed-run.ts';
import { API_TOKENS } from './support/runner-environment.ts';
import { shareStage } from './support/shared-stage.ts';

const openPage = shareBrowser();
const scene = shareStage('lists', reachableAddress);

async function pushShop(subject: string): Promise<void> {
  const { stage, runner } = scene();
  await writeShellService(stage.repository, 'platform/07.shop', `echo '${subject}'`);
  const { runId } = await pushRun(stage, runner, subject);
  await runner.waitForRun(runId, 'succeeded');
}

it('The filter bar works without scripts, and keeps what was asked for in the address and in its fields', async (context) => {
  const { runner } = scene();
  await pushShop('Paint the shop');
  await pushShop('Close the shop');
  const { page } = await openPage(context, { javaScriptEnabled: false });
  await signIn(page, runner.url, API_TOKENS.viewer, '/runs');
  await page.getByLabel('Search').fill('paint');
  await page.getByLabel('State').selectOption('succeeded');
  await page.getByLabel('Service').fill('platform/shop');
  await page.getByRole('button', { name: 'Filter' }).click();
  expect(await page.locator('.run-title').allTextContents()).toEqual(['Paint the shop']);
  const { searchParams } = new URL(page.url());
  expect(['q', 'state', 'service'].map((name) => searchParams.get(name))).toEqual([
    'paint',
    'succeeded',
    'platform/shop',
  ]);
  expect(await page.getByLabel('Search').inputValue()).toBe('paint');
  await page.getByRole('link', { name: 'Clear' }).click();
  expect(await page.locator('.run-title').allTextContents()).toContain('Close the shop');
});

it('A list that follows by itself keeps its filter', async (context) => {
  const { runner } = scene();
  const { page, complaints } = await openPage(context);
  await signIn(page, runner.url, API_TOKENS.viewer, '/runs?q=lantern');
  await page.getByText('No run matches the filter.').waitFor();
  await pushShop('Hang up a sign');
  await pushShop('Light the lantern');
  await page.locator('.run-title', { hasText: 'Light the lantern' }).waitFor();
  expect(await page.locator('.run-title').count()).toBe(1);
  expect(complaints).toEqual([]);
});

it('The keys go through the rows, to the search and to the list of keys, but not while somebody types', async (context) => {
  const { runner } = scene();
  const { page, complaints } = await openPage(context);
  await signIn(page, runner.url, API_TOKENS.viewer, '/runs');
  const focused = () => page.evaluate<string>('document.activeElement.textContent');
  const titles = await page.locator('.run-title').allTextContents();
  await page.getByRole('button', { name: 'Keys' }).waitFor();
  await page.keyboard.press('j');
  expect(await focused()).toBe(titles[0]);
  await page.keyboard.press('j');
  expect(await focused()).toBe(titles[1]);
  await page.keyboard.press('Control+j');
  await page.keyboard.press('Alt+j');
  expect(await focused()).toBe(titles[1]);
  await page.keyboard.press('k');
  expect(await focused()).toBe(titles[0]);

  await page.keyboard.press('/');
  await page.keyboard.type('jk/?');
  expect(await page.getByLabel('Search').inputValue()).toBe('jk/?');
  expect(await page.getByRole('dialog').count()).toBe(0);

  await page.locator('.run-title').first().focus();
  await page.keyboard.press('?');
  await page.getByRole('dialog', { name: 'Keys' }).waitFor();
  await page.keyboard.press('j');
  expect(await page.getByRole('dialog').count()).toBe(1);
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  expect(await focused()).toBe(titles[0]);
  expect(complaints).toEqual([]);
});

it('The keys work on every page with a list, and can be turned off', async (context) => {
  const { runner } = scene();
  const { page } = await openPage(context);
  await signIn(page, runner.url, API_TOKENS.admin, '/');
  const isInRow = () => page.evaluate<boolean>("document.activeElement.closest('.run-row, .tile') !== null");
  for (const path of ['/', '/services', '/services/platform/shop', '/deliveries', '/audit']) {
    await page.goto(runner.url + path);
    await page.locator('.run-row, .tile').first().waitFor();
    await page.getByRole('button', { name: 'Keys' }).waitFor();
    await page.keyboard.press('j');
    expect([path, await isInRow()]).toEqual([path, true]);
  }
  await page.getByRole('button', { name: 'Keys' }).click();
  await page.getByLabel('Use these keys').uncheck();
  await page.keyboard.press('Escape');
  await page.goto(`${runner.url}/runs`);
  await page.getByRole('button', { name: 'Keys' }).waitFor();
  await page.keyboard.press('j');
  expect(await isInRow()).toBe(false);
});

it('A long refusal is shown to its end, and what was skipped does not look as if it waited', async (context) => {
  const { runner } = scene();
  const headers = { 'Content-Type': 'application/json', 'X-GitHub-Event': 'push' };
  await fetch(`${runner.url}/webhook`, { method: 'POST', headers, body: '{}' });
  const { page } = await openPage(context, { viewport: { width: 700, height: 800 } });
  await signIn(page, runner.url, API_TOKENS.viewer, '/deliveries?decision=refused');
  const cut = await page.evaluate<number>(
    `[...document.querySelectorAll('.run-title')].filter((one) => one.scrollWidth > one.clientWidth).length`,
  );
  expect(cut).toBe(0);
  await page.getByText('enter the value of WEBHOOK_SECRET').first().waitFor();
  const shapeOf = (state: string) =>
    page.evaluate<string>(`(() => {
      const badge = document.createElement('span');
      badge.className = 'state';
      badge.dataset.state = '${state}';
      document.querySelector('main').append(badge);
      return getComputedStyle(badge, '::before').borderRadius;
    })()`);
  expect(await shapeOf('pending')).toBe('50%');
  expect(await shapeOf('skipped')).toBe('0px');
});

it('The lists and the dialog of keys fit on a phone', async (context) => {
  const { runner } = scene();
  const { page } = await openPage(context, { viewport: { width: 390, height: 844 } });
  await signIn(page, runner.url, API_TOKENS.viewer, '/runs');
  for (const path of ['/runs', '/deliveries']) {
    await page.goto(runner.url + path);
    await page.getByRole('button', { name: 'Keys' }).click();
    await page.getByRole('dialog', { name: 'Keys' }).waitFor();
    expect(await page.evaluate<number>('document.documentElement.scrollWidth')).toBe(390);
  }
});
