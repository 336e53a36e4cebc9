/** Every page against the rules of WCAG 2.2 AA, in both colour schemes, on a desk and on a phone, and by keyboard. */

import axe from 'axe-core';
import type { Page } from 'playwright-core';
import { beforeAll, expect, it } from 'vitest';
import { z } from 'zod';
import { shareBrowser, signIn } from './support/browser.ts';
import { reachableAddress } from './support/free-port.ts';
import { writeShellService } from './support/hand-made-service.ts';
import { pushRun } from './support/pushed-run.ts';
import { API_TOKENS } from './support/runner-environment.ts';
import { shareStage } from './support/shared-stage.ts';

const openPage = shareBrowser();
const scene = shareStage('accessibility', reachableAddress);
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
const DESK = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };

/** The paths of all pages, of which some show failures. */
let paths: string[] = [];

beforeAll(async () => {
  const { stage, runner } = scene();
  await writeShellService(stage.repository, 'platform/07.bad', "echo 'Error: no disk' >&2\nexit 3");
  await writeShellService(stage.repository, 'platform/08.good', "printf '\\033[31mred\\033[0m\\n'");
  const { runId } = await pushRun(stage, runner, 'Fail once');
  await runner.waitForRun(runId, 'failed');
  const body = JSON.stringify({ reason: 'Freeze', services: ['platform/good'] });
  const headers = { Authorization: `Bearer ${API_TOKENS.operator}` };
  await fetch(`${runner.url}/holds`, { method: 'POST', headers, body });
  paths = [
    '/',
    '/runs',
    `/runs/${runId}`,
    '/services',
    '/services/platform/bad',
    '/services/platform/good',
    '/holds',
    '/deliveries',
    '/sessions',
    '/workers',
    '/nothing-here',
  ];
});

const resultSchema = z.object({
  violations: z.array(
    z.object({
      id: z.string(),
      nodes: z.array(z.object({ target: z.array(z.unknown()), html: z.string() })),
    }),
  ),
});

/** Returns what the rules find, one line for each element. */
async function problemsOf(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const found = await page.evaluate(
    `axe.run(document, { runOnly: { type: 'tag', values: ${JSON.stringify(RULES)} } })`,
  );
  return resultSchema
    .parse(found)
    .violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${page.url()}: ${id}: ${html}`));
}

it.for([
  ['light', DESK],
  ['dark', DESK],
  ['light', PHONE],
  ['dark', PHONE],
] as const)('Every page keeps the rules, in a %s scheme, at %o', async ([colorScheme, viewport], context) => {
  const { page } = await openPage(context, { colorScheme, viewport });
  const { runner } = scene();
  await page.goto(`${runner.url}/login`);
  const problems = await problemsOf(page);
  await signIn(page, runner.url, API_TOKENS.operator, '/');
  for (const path of paths) {
    await page.goto(runner.url + path);
    problems.push(...(await problemsOf(page)));
  }
  expect(problems).toEqual([]);
});

it('Everything that can be pressed is reached by the keyboard alone, and shows its focus', async (context) => {
  const { page } = await openPage(context);
  const { runner } = scene();
  await signIn(page, runner.url, API_TOKENS.operator, '/');
  for (const path of paths) {
    await page.goto(runner.url + path);
    // The script makes the bar of each log that is open.
    const logs = page.locator('details.step[open]:not([data-lines="0"])');
    for (const log of await logs.all()) await log.locator('.log-bar').waitFor();
    // The numbers of lines are no stops. The search goes to a line, too: `:1234`.
    const pressable =
      'a[href]:not([tabindex="-1"]), button, input:not([type=hidden]), summary, [tabindex="0"]';
    const number = await page.evaluate<number>(
      `[...document.querySelectorAll('${pressable}')].filter((one) => one.checkVisibility()).length`,
    );
    const reached = new Set<number>();
    // A field for a time has several stops.
    for (let presses = 0; presses < number + 20; presses += 1) {
      await page.keyboard.press('Tab');
      const at = await page.evaluate<number>(
        `[...document.querySelectorAll('${pressable}')].indexOf(document.activeElement)`,
      );
      if (at >= 0) reached.add(at);
    }
    expect([path, reached.size]).toEqual([path, number]);
  }
});
