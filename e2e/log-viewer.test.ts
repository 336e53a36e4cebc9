/** The log of a run in a real browser: every line can be reached, linked, searched and read in several forms. */

import type { Locator, Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { shareBrowser } from './support/browser.ts';
import { reachableAddress } from './support/free-port.ts';
import { waitAtGate, writeShellService } from './support/hand-made-service.ts';
import { type PushedRun, pushRun } from './support/pushed-run.ts';
import { openGate, shareStage } from './support/shared-stage.ts';
import { until } from './support/until.ts';

const openPage = shareBrowser();
const scene = shareStage('log-viewer', reachableAddress);

const stepOf = (page: Page, service: string) => page.locator(`details.step[data-step="${service}"]`);
const lineOf = (step: Locator, number: number) =>
  step.locator('.line', { has: step.page().locator(`.number[data-number="${number}"]`) });
const textOf = async (step: Locator, number: number) => (await lineOf(step, number).textContent()) ?? '';

async function runTask(script: string, name: string): Promise<PushedRun> {
  const { stage, runner } = scene();
  await writeShellService(stage.repository, `platform/06.${name}`, script);
  const pushed = await pushRun(stage, runner, `Print as ${name}`);
  await runner.waitForRun(pushed.runId, 'succeeded');
  return pushed;
}

/** Opens the log of the step at its end. */
async function openLog(page: Page, url: string, service: string): Promise<Locator> {
  await page.goto(url);
  const step = stepOf(page, service);
  await step.locator('summary').click();
  await step.locator('.line .number').first().waitFor();
  return step;
}

describe('The log of a step', () => {
  it('of 100,000 lines opens at its end, and shows any line that is asked for', async (context) => {
    const { page, complaints } = await openPage(context);
    const print = `seq -f 'line number %.0f, long enough to be like one of a real log' 100000`;
    const { url } = await runTask(print, 'long');
    const step = await openLog(page, url, 'platform/long');
    await step.getByText('line number 100000,').waitFor();
    expect(await step.locator('.line').count()).toBeLessThan(200);
    const box = step.locator('.log-box');
    for (const [share, number] of [
      [0, 1],
      [0.5, 50_000],
      [1, 100_000],
    ] as const) {
      await box.evaluate((element, part) => {
        element.scrollTop = part * (element.scrollHeight - element.clientHeight);
      }, share);
      await lineOf(step, number).waitFor();
      expect(await textOf(step, number)).toBe(
        `line number ${number}, long enough to be like one of a real log`,
      );
    }
    // Each line has an address, which also survives a reload.
    await page.goto(`${url}#platform/long:77777`);
    await step.locator('.line.current', { hasText: 'line number 77777,' }).waitFor();
    await page.reload();
    await step.locator('.line.current', { hasText: 'line number 77777,' }).waitFor();
    expect(await lineOf(step, 77_777).isVisible()).toBe(true);
    await lineOf(step, 77_780).locator('.number').click();
    await step.locator('.line.current', { hasText: 'line number 77780,' }).waitFor();
    expect(new URL(page.url()).hash).toBe('#platform/long:77780');
    expect(complaints).toEqual([]);
  });

  it('is searched on the server, forwards and backwards', async (context) => {
    const { page, complaints } = await openPage(context);
    const { url } = await runTask(
      `seq 20000; echo 'Find ME'; seq 20000; echo 'find me too'; seq 5`,
      'search',
    );
    const step = await openLog(page, url, 'platform/search');
    await step.getByRole('searchbox').fill('find me');
    await step.getByRole('searchbox').press('Enter');
    await step.locator('.line.current', { hasText: 'Find ME' }).waitFor();
    await step.getByText('1 of 2', { exact: true }).waitFor();
    expect(new URL(page.url()).hash).toBe('#platform/search:20001');
    await step.getByRole('button', { name: 'Next match' }).click();
    await step.locator('.line.current', { hasText: 'find me too' }).waitFor();
    await step.getByRole('button', { name: 'Next match' }).click();
    await step.locator('.line.current', { hasText: 'Find ME' }).waitFor();
    await step.getByRole('button', { name: 'Previous match' }).click();
    await step.getByText('2 of 2', { exact: true }).waitFor();
    await step.getByRole('searchbox').fill('not there');
    await step.getByRole('searchbox').press('Enter');
    await step.getByText('No match').waitFor();
    await step.getByRole('searchbox').fill(':12345');
    await step.getByRole('searchbox').press('Enter');
    await step.locator('.line.current', { hasText: '12345' }).waitFor();
    expect(complaints).toEqual([]);
  });

  it.for(['', 'Wrap'])('gives every line to who scrolls through it, with %j', async (name, context) => {
    const { page } = await openPage(context);
    const print = `for i in $(seq 1500); do echo "$i $(head -c $((i % 7 * 90)) /dev/zero | tr '\\0' x)"; done`;
    const service = `scrolled-${name.length}`;
    const { url } = await runTask(print, service);
    const step = await openLog(page, url, `platform/${service}`);
    if (name !== '') await step.getByLabel(name).check();
    const box = step.locator('.log-box');
    const seen = new Set<number>();
    await box.evaluate((element) => {
      element.scrollTop = 0;
    });
    await lineOf(step, 1).waitFor();
    await until('the end of the log', async () => {
      const numbers = await visibleNumbers(box);
      if (numbers.includes(null)) return null;
      for (const number of numbers) seen.add(number ?? 0);
      if (numbers.includes(1_500)) return true;
      await box.evaluate((element) => {
        element.scrollTop += element.clientHeight * 0.8;
      });
      return null;
    });
    expect([...seen].toSorted((one, other) => one - other)).toEqual(
      Array.from({ length: 1_500 }, (_, index) => index + 1),
    );
  });

  it('shows times, and errors alone', async (context) => {
    const { page, complaints } = await openPage(context);
    const { url } = await runTask(`seq 3000; echo oops >&2; seq 3000; echo 'An ERROR.'; seq 300`, 'errors');
    const step = await openLog(page, url, 'platform/errors');
    expect(await step.locator('.line time').first().isVisible()).toBe(false);
    await step.getByLabel('Times').check();
    expect(await step.locator('.line time').first().getAttribute('data-time')).toMatch(
      /^\d\d:\d\d:\d\d\.\d{3}$/,
    );
    expect(await step.locator('.line time').first().isVisible()).toBe(true);
    await step.getByLabel('Only errors').check();
    await until('only errors', async () => ((await step.locator('.line').count()) === 2 ? true : null));
    // Standard error has a pipe of its own, so its lines may come before or after the others.
    expect((await step.locator('.line').allTextContents()).toSorted()).toEqual(['An ERROR.', 'oops']);
    await step.locator('.line', { hasText: 'oops' }).locator('.number').click();
    await step.locator('.line.current', { hasText: 'oops' }).waitFor();
    await expect.poll(() => step.locator('.line').count()).toBeGreaterThan(10);
    expect(complaints).toEqual([]);
  });

  it('follows its end while it grows, until the reader scrolls away', async (context) => {
    const { page, complaints } = await openPage(context);
    const { stage, runner } = scene();
    const script = `seq 2000; ${waitAtGate('grow-1')}; seq -f 'more %.0f' 50000; ${waitAtGate('grow-2')}; seq -f 'last %.0f' 2000`;
    await writeShellService(stage.repository, 'platform/06.growing', script);
    const { runId, url } = await pushRun(stage, runner, 'Grow');
    await page.goto(url);
    const step = stepOf(page, 'platform/growing');
    await step.getByText('2000', { exact: true }).waitFor();
    await openGate(stage, 'grow-1');
    await step.getByText('more 50000', { exact: true }).waitFor();
    const follow = step.getByLabel('Follow');
    expect(await follow.isChecked()).toBe(true);
    await step.locator('.log-box').evaluate((element) => {
      element.scrollTop = 100;
    });
    await step.getByText('20', { exact: true }).waitFor();
    await openGate(stage, 'grow-2');
    await runner.waitForRun(runId, 'succeeded');
    await page.locator('#outcome .state[data-state="succeeded"]').waitFor();
    expect(await follow.isChecked()).toBe(false);
    expect(await step.getByText('20', { exact: true }).isVisible()).toBe(true);
    await step.getByRole('button', { name: 'Jump to the end' }).click();
    await step.getByText('last 2000', { exact: true }).waitFor();
    expect(complaints).toEqual([]);
  });
});

describe('Without scripts', () => {
  it('the newest lines are there with their numbers, and the way to all of them', async (context) => {
    const { page } = await openPage(context, { javaScriptEnabled: false });
    const { url } = await runTask(`seq -f 'line %.0f' 5000`, 'plain');
    await page.goto(url);
    const step = stepOf(page, 'platform/plain');
    await step.locator('summary').click();
    expect(await step.locator('.log > li').first().textContent()).toBe('line 4801');
    expect(await step.locator('.log > li').last().isVisible()).toBe(true);
    expect(await step.locator('.log').getAttribute('start')).toBe('4801');
    await step.getByRole('link', { name: 'Raw log' }).click();
    expect((await page.textContent('body'))?.trimEnd().split('\n').length).toBe(5_000);
  });
});

/** The numbers of the lines that are in view; null for each that was not read yet. */
function visibleNumbers(box: Locator): Promise<(number | null)[]> {
  return box.evaluate((element) => {
    const { top, bottom } = element.getBoundingClientRect();
    return [...element.querySelectorAll('.line')].flatMap((line) => {
      const place = line.getBoundingClientRect();
      const number = line.querySelector('.number')?.dataset.number ?? null;
      return place.bottom > top && place.top < bottom ? [number && Number(number)] : [];
    });
  });
}
