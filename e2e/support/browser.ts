/** A real browser for tests of pages, which notices everything a reader would be bothered by. */

import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { afterAll, onTestFinished, type TestContext } from 'vitest';
import { chromiumOrSkip } from './obtained.ts';
import { PATIENCE_MS } from './until.ts';

export interface WatchedPage {
  page: Page;
  /** Dialogs, errors of scripts, and what the browser complains about on its console, as of violated policies. */
  complaints: string[];
}

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
];

/**
 * One browser for all tests of a file, started by the first that opens a page. Each page has a profile of its own
 * and goes with its test, which is skipped where there is no browser.
 */
export function shareBrowser(): (
  context: TestContext,
  options?: BrowserContextOptions,
) => Promise<WatchedPage> {
  let browser: Browser | undefined;
  afterAll(() => browser?.close());

  return async (context, options) => {
    const executablePath = chromiumOrSkip(context);
    browser ??= await chromium.launch({ executablePath, args: FLAGS });
    const profile = await browser.newContext(options);
    onTestFinished(() => profile.close());
    profile.setDefaultTimeout(PATIENCE_MS);
    const page = await profile.newPage();
    return { page, complaints: listenForComplaints(page) };
  };
}

function listenForComplaints(page: Page): string[] {
  const complaints: string[] = [];
  page.on('dialog', async (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`);
    await dialog.dismiss();
  });
  page.on('pageerror', (error) => complaints.push(`script: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning')
      complaints.push(`console: ${message.text()}`);
  });
  return complaints;
}

/** Signs in by the form and ends on `path`. */
export async function signIn(page: Page, url: string, token: string, path = '/runs'): Promise<void> {
  await page.goto(url + path);
  await page.getByLabel('API token').fill(token);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.waitForURL(url + path);
}
