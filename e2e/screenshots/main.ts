/**
 * `npm run screenshots` stages a story on a real server, and writes the pictures of its pages to docs/images: in a light
 * and a dark scheme, and on a phone.
 */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { reachableAddress } from '../support/free-port.ts';
import { obtainChromium } from '../support/obtain-chromium.ts';
import { obtainInvoke } from '../support/obtain-invoke.ts';
import { PROJECT_ROOT } from '../support/project-root.ts';
import { API_TOKENS } from '../support/runner-environment.ts';
import { setStage } from '../support/stage.ts';
import { type Story, tellStory } from './story.ts';

const FOLDER = join(PROJECT_ROOT, 'docs', 'images');
const DESK = { width: 1280, height: 860 };
const PHONE = { width: 390, height: 844 };
const VIEWS = [
  { suffix: 'light', viewport: DESK, colorScheme: 'light' },
  { suffix: 'dark', viewport: DESK, colorScheme: 'dark' },
  { suffix: 'phone', viewport: PHONE, colorScheme: 'light' },
] as const;

const log = (line: string): void => console.log(line);
const invoke = await obtainInvoke({ log });
const found = await obtainChromium();
if ('missing' in invoke || 'missing' in found) {
  console.error('missing' in invoke ? invoke.missing : 'missing' in found && found.missing);
  process.exit(1);
}
await mkdir(FOLDER, { recursive: true });
const stage = await setStage({ name: 'screenshots', invoke: invoke.argv });
const browser = await chromium.launch({ executablePath: found.executable, args: ['--no-sandbox'] });
try {
  const { PUBLIC_URL, ...address } = await reachableAddress();
  const tokens = `ada:admin:${API_TOKENS.admin},screen:viewer:${API_TOKENS.viewer}`;
  const runner = await stage.start({ environment: { ...address, PUBLIC_URL, API_TOKENS: tokens } });
  const story = await tellStory(stage, runner);
  for (const view of VIEWS) await takePictures(browser, PUBLIC_URL, story, view);
} finally {
  await browser.close();
  await stage.close();
}

async function takePictures(
  browser: Browser,
  url: string,
  story: Story,
  { suffix, viewport, colorScheme }: (typeof VIEWS)[number],
): Promise<void> {
  const context = await browser.newContext({ viewport, colorScheme, deviceScaleFactor: 1 });
  const page = await context.newPage();
  await page.goto(`${url}/login`);
  await page.getByLabel('API token').fill(API_TOKENS.admin);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.waitForURL(`${url}/`);
  const pages: [name: string, path: string, ready: (page: Page) => Promise<unknown>][] = [
    ['overview', '/', (open) => open.locator('.tile[data-state="failed"]').first().waitFor()],
    ['service', '/services/platform/shop', (open) => open.locator('.run-row').first().waitFor()],
    ['run', `/runs/${story.failedRun}`, (open) => open.getByText('connection refused').first().waitFor()],
    ['timeline', `/runs/${story.wholeRun}`, (open) => open.locator('.timeline').waitFor()],
    ['audit', '/audit', (open) => open.locator('.run-row').first().waitFor()],
  ];
  for (const [name, path, ready] of pages) {
    await page.goto(url + path);
    await ready(page);
    const file = `${name}-${suffix}.png`;
    await page.screenshot({ path: join(FOLDER, file) });
    log(`docs/images/${file}`);
  }
  await context.close();
}
