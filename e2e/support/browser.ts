/** A real browser for tests of pages. It records everything that would bother a reader. */

import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { afterAll, onTestFinished, type TestContext } from 'vitest';
import { chromiumOrSkip } from './obtained.ts';
import { PATIENCE_MS } from './until.ts';

export interface WatchedPage {
  page: Page;
  /** Dialogs, errors of scripts, and messages of the browser on its console, such as violated policies. */
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
 * Starts one browser for all tests of a file when the first test opens a page. Each page has a profile of its own
 * and is closed with its test. Tests are skipped where there is no browser.
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

/** Signs in with the form and ends on `path`. */
export async function signIn(page: Page, url: string, token: string, path = '/runs'): Promise<void> {
  await page.goto(url + path);
  await page.getByLabel('API token').fill(token);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.waitForURL(url + path);
}
