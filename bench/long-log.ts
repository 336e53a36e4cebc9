/** Measures how a long log is read: on its page in a real browser while it grows, and by its lines. */

import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { z } from 'zod';
import { obtainChromium } from '../e2e/support/obtain-chromium.ts';
import type { Runner } from '../e2e/support/runner.ts';
import { until } from '../e2e/support/until.ts';
import type { Bench, Row } from './bench.ts';
import { startBuilt, withFolder, writeTask } from './support/built-runner.ts';
import { generatePlatform } from './support/generated-platform.ts';
import { healthWhileReading } from './support/health.ts';
import { median, seconds, spread, times, wholeMs } from './support/statistics.ts';

const STORED_LINES = 500_000;
const LIVE_LINES = 100_000;
const FAR_LINE = 400_000;
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'];
const ROUNDS = 5;
const READS = 50;
const HEALTH_MS = 2_000;

const MOST_FAR = 1.5;
const MOST_HEALTH_MS = 50;
const MOST_TASK_MS = 50;
const MOST_LATE_MS = 1_000;
const MOST_PAINT_MS = 300;

export const longLog: Bench = {
  name: 'Reading a long log',
  method: `A task has printed ${STORED_LINES.toLocaleString('en-US')} lines of 60 bytes. 500 of them are asked for ${READS} times at line 1 and at line ${FAR_LINE.toLocaleString('en-US')}, in turn. \`/health\` is asked every 10 ms for ${HEALTH_MS / 1000} s, while another process reads the whole log as text, or searches it for a text that is not there, again and again; the bound is the same server while nothing is read. The slowest answer of each of ${ROUNDS} rounds counts. Then the page of a run is open in Chromium while its task prints ${LIVE_LINES.toLocaleString('en-US')} lines at once, ${ROUNDS} times. The time begins with the stored end of the step and ends when the last line is in view and all lines have their place. A long task is one of 50 ms or more; the longest is that of the page from its start until then. The first paint is that of the page of the long log. Chromium, the server and this bench share the cores.`,
  run: () =>
    withFolder('long-log', async (folder) => {
      const found = await obtainChromium();
      if ('missing' in found) throw new Error(found.missing);
      const platform = await generatePlatform(folder, { services: 2, filesPerService: 2, waves: 1 });
      const gate = join(folder, 'gate');
      const print = `seq -f '%010.0f a line that a task prints on its way, sixty bytes.'`;
      const wait = `while [ ! -e ${gate} ]; do sleep 0.05; done`;
      const script = `case "$1" in *00000.sync) exec ${print} ${STORED_LINES} ;; *) ${wait}; exec ${print} ${LIVE_LINES} ;; esac`;
      const invoke = await writeTask(folder, 'print', script);
      const runner = await startBuilt({ folder, repositoryPath: platform.path, invoke });
      const browser = await chromium.launch({ executablePath: found.executable, args: FLAGS });
      try {
        const stored = await requestRun(runner, 'platform/service-00000');
        await runner.waitForRun(stored.runId, 'succeeded');
        return [
          await farRow(runner, stored.runId),
          ...(await healthRows(runner, stored.runId)),
          ...(await browserRows(browser, runner, { gate, storedPath: stored.path })),
        ];
      } finally {
        await browser.close();
        await runner.stop();
      }
    }),
};

const acceptedSchema = z.object({ run_id: z.string(), url: z.string() });

/** Resolves to the run, and to its signed link as a path. */
async function requestRun(runner: Runner, service: string): Promise<{ runId: string; path: string }> {
  const { body } = await runner.signedPost('/sync', { services: [service], force: true });
  const { run_id: runId, url } = acceptedSchema.parse(body);
  const { pathname, search } = new URL(url);
  return { runId, path: pathname + search };
}

async function farRow(runner: Runner, runId: string): Promise<Row> {
  const near: number[] = [];
  const far: number[] = [];
  for (let read = 0; read <= READS; read += 1) {
    for (const [line, took] of [
      [1, near],
      [FAR_LINE, far],
    ] as const) {
      const startedAt = performance.now();
      const { body } = await runner.getJson(`/runs/${runId}/log?from=${line}&lines=500`);
      // The first read warms up.
      if (read > 0) took.push(performance.now() - startedAt);
      const text = z.object({ lines: z.array(z.object({ text: z.string() })) }).parse(body).lines[0]?.text;
      if (!text?.startsWith(String(line).padStart(10, '0'))) throw new Error(`Line ${line} is ${text}.`);
    }
  }
  const ratio = median(far) / median(near);
  return {
    measured: `500 lines from line ${FAR_LINE.toLocaleString('en-US')}`,
    ours: spread(far, oneDecimal),
    bound: `from line 1: ${spread(near, oneDecimal)}`,
    ratio: times(ratio),
    aim: `≤ ${MOST_FAR}×`,
    met: ratio <= MOST_FAR,
  };
}

function oneDecimal(ms: number): string {
  return `${ms.toFixed(1)} ms`;
}

async function healthRows(runner: Runner, runId: string): Promise<Row[]> {
  const ways = [
    { what: 'nothing is read', path: null, slowest: [] as number[] },
    { what: 'the log is read as text', path: `/runs/${runId}/log.txt`, slowest: [] as number[] },
    { what: 'the log is searched', path: `/runs/${runId}/log?search=nowhere`, slowest: [] as number[] },
  ];
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const { path, slowest } of ways) {
      slowest.push(Math.max(...(await healthWhileReading(runner.url, path, HEALTH_MS))));
    }
  }
  const [idle, ...reading] = ways;
  return reading.map(({ what, slowest }) => ({
    measured: `Slowest \`/health\` while ${what}`,
    ours: spread(slowest, wholeMs),
    bound: `${idle?.what}: ${spread(idle?.slowest ?? [], wholeMs)}`,
    aim: `≤ ${MOST_HEALTH_MS} ms`,
    met: median(slowest) <= MOST_HEALTH_MS,
  }));
}

interface Shown {
  lateMs: number[];
  longestMs: number[];
}

async function browserRows(
  browser: Browser,
  runner: Runner,
  { gate, storedPath }: { gate: string; storedPath: string },
): Promise<Row[]> {
  const shown: Shown = { lateMs: [], longestMs: [] };
  const paintMs: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    await rm(gate, { force: true });
    await showLive(browser, runner, { gate, shown });
    paintMs.push(await firstPaint(browser, runner.url + storedPath));
  }
  const limit = (measured: string, values: number[], most: number, show = wholeMs): Row => ({
    measured,
    ours: spread(values, show),
    aim: `≤ ${show(most)}`,
    met: median(values) <= most,
  });
  const lines = LIVE_LINES.toLocaleString('en-US');
  return [
    limit(`End of the task → ${lines} live lines are on the page`, shown.lateMs, MOST_LATE_MS, seconds),
    limit('Longest task of the page (0 ms: no long task)', shown.longestMs, MOST_TASK_MS),
    limit('First paint of the page', paintMs, MOST_PAINT_MS),
  ];
}

/**
 * Runs in the page before its own scripts. `shownAt` is the time at which the last line is in view, and the list is as high
 * as all lines together.
 */
const WATCH = `globalThis.longestTask = 0;
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) globalThis.longestTask = Math.max(globalThis.longestTask, duration);
  }).observe({ type: 'longtask', buffered: true });
  const look = () => {
    const row = document.querySelector('.number[data-number="${LIVE_LINES}"]')?.parentElement;
    const box = row?.closest('.log-box');
    const isShown = box && row.getBoundingClientRect().bottom <= box.getBoundingClientRect().bottom + 1
      && box.scrollHeight >= row.offsetHeight * ${LIVE_LINES};
    if (isShown) globalThis.shownAt = Date.now();
    else requestAnimationFrame(look);
  };
  look();`;

/** Opens the page of a run that waits, lets it print, and notes when its last line is shown. */
async function showLive(
  browser: Browser,
  runner: Runner,
  { gate, shown }: { gate: string; shown: Shown },
): Promise<void> {
  const page = await browser.newPage();
  await page.addInitScript(WATCH);
  const { runId, path } = await requestRun(runner, 'platform/service-00001');
  await page.goto(runner.url + path);
  await page.locator('details.step[data-state="running"]').waitFor();
  await page.waitForTimeout(500);
  await writeFile(gate, '');
  const shownAt = await numberOf(page, 'globalThis.shownAt');
  const [step] = (await runner.waitForRun(runId, 'succeeded')).steps;
  shown.lateMs.push(Math.max(0, shownAt - Date.parse(String(step?.finished_at))));
  // A task that is under way is only known when it has ended.
  await page.waitForTimeout(500);
  shown.longestMs.push(Number(await page.evaluate('globalThis.longestTask')));
  await page.close();
}

/** Asks the page until it has a number for this expression. */
async function numberOf(page: Page, expression: string): Promise<number> {
  return until(expression, async () => Number(await page.evaluate(`${expression} ?? 0`)) || null);
}

async function firstPaint(browser: Browser, address: string): Promise<number> {
  const page = await browser.newPage();
  await page.goto(address);
  const ms = await numberOf(page, "performance.getEntriesByName('first-contentful-paint')[0]?.startTime");
  await page.close();
  return ms;
}
