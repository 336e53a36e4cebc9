/** The pages as people see them in a real browser: live, without scripts, on a phone, and under attack. */

import type { Page } from 'playwright-core';
import { describe, expect, it, onTestFinished } from 'vitest';
import { shareBrowser, signIn } from './support/browser.ts';
import { followLog, type LogMessage, logMessage, readStream } from './support/event-stream.ts';
import { reachableAddress } from './support/free-port.ts';
import { waitAtGate, writePythonService, writeShellService } from './support/hand-made-service.ts';
import { pushRun, readLog } from './support/pushed-run.ts';
import { API_TOKENS } from './support/runner-environment.ts';
import { openGate, shareStage } from './support/shared-stage.ts';
import { setTestStage } from './support/test-stage.ts';
import { until } from './support/until.ts';

const openPage = shareBrowser();
const scene = shareStage('pages', reachableAddress);

const outcome = (page: Page) => page.locator('#outcome .state');
const stepOf = (page: Page, service: string) => page.locator(`details.step[data-step="${service}"]`);
const linesOf = (page: Page, service: string) => stepOf(page, service).locator('.log li');

/** Removes the service after the test, because every later push would try a failing service again. */
function removeAfterTest(folder: string): void {
  onTestFinished(async () => {
    const { stage, runner } = scene();
    await stage.repository.remove(folder);
    const { runId } = await pushRun(stage, runner, 'Pull it out');
    await runner.waitForRun(runId, 'succeeded');
  });
}

describe('Signing in', () => {
  it('takes a token, shows the runs, opens one of them, and signs out again', async (context) => {
    const { page, complaints } = await openPage(context);
    const { stage, runner } = scene();
    await writeShellService(stage.repository, 'platform/06.plain', 'echo hello');
    const { runId } = await pushRun(stage, runner, 'Say hello');
    await runner.waitForRun(runId, 'succeeded');
    await page.goto(`${runner.url}/runs/${runId}`);
    await page.getByLabel('API token').fill('not-one-of-them');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('The server does not know this token.').waitFor();
    // The browser itself reports the 401 on its console.
    complaints.length = 0;
    await page.getByLabel('API token').fill(API_TOKENS.viewer);
    await page.getByRole('button', { name: 'Sign in' }).click();
    // The sign-in leads back to the page that asked for it.
    await page.waitForURL(`${runner.url}/runs/${runId}`);
    await page.getByRole('link', { name: 'Runs', exact: true }).click();
    const row = page.locator('.run-row', { hasText: 'Say hello' });
    expect(await row.locator('.state').textContent()).toBe('succeeded');
    expect(await row.textContent()).toContain('1 service synced successfully');
    await row.getByRole('link', { name: 'Say hello' }).click();
    await page.getByRole('heading', { name: 'Say hello' }).waitFor();
    await stepOf(page, 'platform/plain').locator('summary').click();
    await page.getByText('hello', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('API token').waitFor();
    await page.goto(`${runner.url}/runs`);
    await page.getByLabel('API token').waitFor();
    expect(complaints).toEqual([]);
  });
});

describe('The page of a run', () => {
  it('is live: lines appear, the state changes and the clock ticks without a reload', async (context) => {
    const { page, complaints } = await openPage(context);
    const { stage, runner } = scene();
    const script = `echo first; ${waitAtGate('live-1')}; echo second; ${waitAtGate('live-2')}; echo third`;
    await writeShellService(stage.repository, 'platform/06.live', script);
    const { runId } = await pushRun(stage, runner, 'Watch this');
    await signIn(page, runner.url, API_TOKENS.viewer, `/runs/${runId}`);
    await page.evaluate('window.loadedOnce = true');
    const step = stepOf(page, 'platform/live');
    await step.getByText('first', { exact: true }).waitFor();
    expect(await outcome(page).textContent()).toBe('running');
    expect(await step.locator('.state').textContent()).toBe('running');
    const clock = step.locator('.step-duration');
    const before = await clock.textContent();
    await until('a tick of the clock', async () => ((await clock.textContent()) === before ? null : true));
    await openGate(stage, 'live-1');
    await step.getByText('second', { exact: true }).waitFor();
    expect(await outcome(page).textContent()).toBe('running');
    await openGate(stage, 'live-2');
    await page.locator('#outcome .state[data-state="succeeded"]').waitFor();
    await step.locator('summary .state[data-state="succeeded"]').waitFor();
    expect(await linesOf(page, 'platform/live').allTextContents()).toEqual(['first', 'second', 'third']);
    expect(await page.locator('#outcome').textContent()).toContain('1 service synced successfully');
    expect(await page.title()).toBe('succeeded: Watch this · iac-runner');
    expect(await page.evaluate('window.loadedOnce')).toBe(true);
    expect(complaints).toEqual([]);
  });

  it('opens the log of a step that started while the page that names it was on its way', async (context) => {
    const { page } = await openPage(context);
    const { stage, runner } = scene();
    await writeShellService(stage.repository, 'platform/06.busy', waitAtGate('busy'));
    const before = await pushRun(stage, runner, 'Keep the place busy');
    await writeShellService(stage.repository, 'platform/07.first', waitAtGate('first'));
    await writeShellService(
      stage.repository,
      'platform/08.second',
      `echo 'second is ready'; ${waitAtGate('second')}`,
    );
    await runner.waitForRun(before.runId, 'running');
    const { runId, url } = await pushRun(stage, runner, 'Follow it');
    await page.goto(url);
    const stateOf = async (id: string) =>
      (await runner.waitForRun(runId, 'running')).steps.find((step) => step.id === id)?.state;
    let isHeld = false;
    await page.route(/log=none/, async (route) => {
      const response = await route.fetch();
      const text = await response.text();
      if (!isHeld && text.includes('data-step="platform/second" data-state="pending"')) {
        isHeld = true;
        await openGate(stage, 'first');
        await expect.poll(() => stateOf('platform/second')).toBe('running');
      }
      await route.fulfill({ response, body: text });
    });
    await openGate(stage, 'busy');
    await page.getByText('second is ready', { exact: true }).waitFor();
    expect(isHeld).toBe(true);
    await openGate(stage, 'second');
    await runner.waitForRun(runId, 'succeeded');
  });

  it('opens by its signed link, read-only, and shows everything without scripts too', async (context) => {
    const { page, complaints } = await openPage(context, { javaScriptEnabled: false });
    const { stage, runner } = scene();
    removeAfterTest('platform/06.failing');
    await writeShellService(stage.repository, 'platform/06.failing', 'echo it breaks; echo why >&2; exit 3');
    await writeShellService(stage.repository, 'platform/06.working', 'echo it works');
    const { runId, url, commit } = await pushRun(stage, runner, 'Half of it works');
    await runner.waitForRun(runId, 'failed');
    const status = await stage.github.statuses.waitFor({ sha: commit, state: 'failure' });
    expect(status.targetUrl).toBe(url);
    await page.goto(url);
    expect(await outcome(page).textContent()).toBe('failed');
    const text = (await page.locator('main').textContent()) ?? '';
    for (const said of [
      ...['Half of it works', '1 of 2 services failed', commit.slice(0, 8), 'main', runId],
      ...['Open the failed step, fix it and push, or retry the run.'],
      ...['platform/failing', 'Exit code 3', 'it breaks', 'why', 'platform/working', 'it works'],
      ...['platform/06.failing/sync.sh', 'not chosen', 'finance_report/app'],
    ]) {
      expect(text).toContain(said);
    }
    // A failed step is open. Any other step opens by a click, which needs no script.
    expect(await stepOf(page, 'platform/failing').getByText('it breaks').isVisible()).toBe(true);
    await stepOf(page, 'platform/working').locator('summary').click();
    expect(await stepOf(page, 'platform/working').getByText('it works').isVisible()).toBe(true);
    expect(await page.locator('form, button').count()).toBe(0);
    expect(complaints).toEqual([]);
    await stepOf(page, 'platform/failing').getByRole('link', { name: 'Raw log' }).click();
    expect((await page.textContent('body'))?.split('\n').toSorted()).toEqual(['', 'it breaks', 'why']);
  });

  it('offers cancel and retry to an operator, but not to a viewer or to the holder of a link', async (context) => {
    const operator = await openPage(context);
    const viewer = await openPage(context);
    const guest = await openPage(context);
    const { stage, runner } = scene();
    removeAfterTest('platform/06.endless');
    await writeShellService(stage.repository, 'platform/06.endless', 'echo up; while :; do sleep 0.1; done');
    const { runId, url } = await pushRun(stage, runner, 'Never ends');
    const path = `/runs/${runId}`;
    await signIn(operator.page, runner.url, API_TOKENS.operator, path);
    await signIn(viewer.page, runner.url, API_TOKENS.viewer, path);
    await guest.page.goto(url);
    for (const { page } of [operator, viewer, guest]) await page.getByText('up', { exact: true }).waitFor();
    for (const { page } of [viewer, guest]) {
      expect(await page.locator('main form, main button').count()).toBe(0);
    }
    for (const [action, token, expected] of [
      ['cancel', API_TOKENS.viewer, 403],
      ['retry', API_TOKENS.viewer, 403],
      ['cancel', null, 401],
    ] as const) {
      const authorization: Record<string, string> =
        token === null ? {} : { authorization: `Bearer ${token}` };
      const link = new URL(url);
      link.pathname += `/${action}`;
      expect((await fetch(link, { method: 'POST', headers: authorization })).status).toBe(expected);
    }
    await operator.page.getByRole('button', { name: 'Cancel' }).click();
    await runner.waitForRun(runId, 'cancelled');
    for (const { page } of [operator, viewer, guest]) {
      await page.locator('#outcome .state[data-state="cancelled"]').waitFor();
      expect(await page.locator('#outcome').textContent()).toContain('Cancelled by operator');
    }
    for (const { page } of [viewer, guest]) {
      expect(await page.locator('main form, main button').count()).toBe(0);
    }
    await operator.page.getByRole('button', { name: 'Retry' }).click();
    await operator.page.waitForURL(
      (address) => address.pathname.startsWith('/runs/') && address.pathname !== path,
    );
    await stepOf(operator.page, 'platform/endless').getByText('up', { exact: true }).waitFor();
    await operator.page.getByRole('button', { name: 'Cancel' }).click();
    await operator.page.locator('#outcome .state[data-state="cancelled"]').waitFor();
    for (const { complaints } of [operator, viewer, guest]) expect(complaints).toEqual([]);
  });

  it('does not open with a wrong key or a key of another run, and a right key opens nothing else', async (context) => {
    const { page } = await openPage(context);
    const { stage, runner } = scene();
    const pushes = [];
    for (const word of ['one', 'two']) {
      await writeShellService(stage.repository, 'platform/06.plain', `echo ${word}`);
      pushes.push(await pushRun(stage, runner, `Say ${word}`));
    }
    const [one, two] = pushes.map(({ url }) => new URL(url));
    if (!one || !two) throw new Error('Two runs were expected.');
    const key = one.searchParams.get('key') ?? '';
    expect(key.length).toBeGreaterThan(40);
    const wrong = [
      `${one.pathname}?key=${key.slice(0, -1)}${key.endsWith('A') ? 'B' : 'A'}`,
      `${one.pathname}?key=`,
      `${one.pathname}`,
      `${two.pathname}?key=${key}`,
      `${one.pathname}/log?key=${two.searchParams.get('key')}`,
      `${one.pathname}/events?key=${two.searchParams.get('key')}`,
      `/runs?key=${key}`,
      `/runs/00000000-0000-4000-8000-000000000000?key=${key}`,
    ];
    for (const path of wrong) {
      const answer = await runner.getJson(path, null);
      expect([path, answer.status]).toEqual([path, 401]);
      await page.goto(runner.url + path);
      await page.getByLabel('API token').waitFor();
    }
    await page.goto(one.href);
    await page.getByRole('heading', { name: 'Say one' }).waitFor();
  });
});

describe('F48: text written by strangers', () => {
  const SUBJECT = `<img src=x onerror=alert('subject')></script><script>alert('subject')</script> "' \u202egnp.exe`;
  const FILE = `platform/06.hostile/<img src=x onerror=alert('file')>"' \u202e\u001b[31m.txt`;
  const MESSAGE = `<img src=x onerror=alert('message')>\u001b]0;message\u0007</span></li>`;
  const OUTPUT = [
    `<img src=x onerror=alert('output')>`,
    `</script></ol></details><script>alert('output')</script>`,
    `\u001b]8;;javascript:alert('link')\u0007click me\u001b]8;;\u0007 and \u001b]8;;https://evil.example/\u001b\\here\u001b]8;;\u001b\\`,
    `\u001b]0;pwned\u0007titled`,
    `\u001b[2J\u001b[1;1Hcleared`,
    `\u001b[31mred\u001b[0m \u001b]52;c;ZXZpbA==\u0007clipboard`,
    `abc\u202egnp.exe\u202c`,
    `{{constructor.constructor('alert(1)')()}} \${alert(1)} &lt;b&gt;`,
    `\u009b31m\u009d0;pwned\u009cc1 controls`,
    `\u001b]unterminated string that should not hide this`,
  ];
  const SHOWN = [
    `<img src=x onerror=alert('output')>`,
    `</script></ol></details><script>alert('output')</script>`,
    'click me and here',
    'titled',
    'cleared',
    'red clipboard',
    'abc<U+202E>gnp.exe<U+202C>',
    `{{constructor.constructor('alert(1)')()}} \${alert(1)} &lt;b&gt;`,
    'c1 controls',
    'unterminated string that should not hide this',
  ];

  it('stays text, whether it is there at the start or arrives while the page is open', async (context) => {
    const live = await openPage(context);
    const later = await openPage(context);
    const { stage, runner } = scene();
    const print = `
import json
gate = Path(os.environ["IAC_EXAMPLE_STATE"]) / "gate-hostile"
print("ready")
while not gate.exists():
    time.sleep(0.05)
for line in json.loads(Path(__file__).with_name("output.json").read_text()):
    print(line)
Path(os.environ["IAC_RESULT_FILE"]).write_text(Path(__file__).with_name("result.json").read_text())`;
    await writePythonService(stage.repository, 'platform/06.hostile', print);
    await stage.repository.write('platform/06.hostile/output.json', JSON.stringify(OUTPUT));
    await stage.repository.write(
      'platform/06.hostile/result.json',
      JSON.stringify({ action: 'updated', details: MESSAGE }),
    );
    await stage.repository.write(FILE, 'hostile\n');
    const { runId, url } = await pushRun(stage, runner, SUBJECT);
    await live.page.goto(url);
    await live.page.getByText('ready', { exact: true }).waitFor();
    await openGate(stage, 'hostile');
    await runner.waitForRun(runId, 'succeeded');
    await live.page.locator('#outcome .state[data-state="succeeded"]').waitFor();
    await signIn(later.page, runner.url, API_TOKENS.operator, `/runs/${runId}`);
    for (const { page } of [live, later]) {
      await stepOf(page, 'platform/hostile').locator('summary .state[data-state="succeeded"]').waitFor();
      expect(await linesOf(page, 'platform/hostile').allTextContents()).toEqual(['ready', ...SHOWN]);
      expect(await stepOf(page, 'platform/hostile').locator('.step-message').textContent()).toBe(
        `Updated: <img src=x onerror=alert('message')></span></li>`,
      );
      expect(await page.locator('h1').textContent()).toContain(`<img src=x onerror=alert('subject')>`);
      expect(await page.title()).toContain(`<img src=x onerror=alert('subject')>`);
      await page.getByText(`<img src=x onerror=alert('file')>`).first().waitFor();
      expect(await page.locator('main img, main script, .log .text a, a[href^="javascript:"]').count()).toBe(
        0,
      );
      expect(await page.locator('main').textContent()).not.toMatch(/(?!\n)\p{Cc}|\p{Bidi_Control}/u);
      expect(await linesOf(page, 'platform/hostile').locator('.fg-1').allTextContents()).toEqual([
        'red',
        'c1 controls',
      ]);
    }
    await later.page.goto(`${runner.url}/runs`);
    await later.page.getByText(`<img src=x onerror=alert('subject')>`).waitFor();
    expect(await later.page.locator('main img, main script').count()).toBe(0);
    for (const { complaints } of [live, later]) expect(complaints).toEqual([]);

    const log = await fetch(`${url.replace('?', '/log?')}`);
    expect(log.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(log.headers.get('x-content-type-options')).toBe('nosniff');
    // The text contains colours, and other sequences that a terminal would obey.
    expect((await log.text()).replaceAll(/\p{Cc}\[\d*m/gu, '')).not.toMatch(/(?!\n)\p{Cc}|\p{Bidi_Control}/u);
  });
});

describe('The log of a run', () => {
  it('of 100,000 lines opens at its end, and is complete when the whole log is requested', async (context) => {
    const { page, complaints } = await openPage(context);
    const { stage, runner } = scene();
    const count = 100_000;
    const script = `seq -f 'line number %.0f, long enough to be like one of a real log' ${count}`;
    await writeShellService(stage.repository, 'platform/06.long', script);
    const { runId, url } = await pushRun(stage, runner, 'Say a lot');
    await runner.waitForRun(runId, 'succeeded');
    await page.goto(url);
    const step = stepOf(page, 'platform/long');
    await step.locator('summary').click();
    await step.getByText(`line number ${count},`).waitFor();
    // The others are read when they are looked at, as log-viewer.test.ts shows.
    expect(await linesOf(page, 'platform/long').count()).toBeLessThan(200);
    expect(complaints).toEqual([]);

    const numbers = (texts: string[]): number[] =>
      texts.map((text) => Number(/^line number (\d+),/.exec(text)?.[1]));
    const all = Array.from({ length: count }, (_, index) => index + 1);
    const raw = await readLog(runner, runId, 'platform/long');
    expect(numbers(raw.trimEnd().split('\n'))).toEqual(all);
    const streamed: string[] = [];
    for await (const { text } of followLog({ url: runner.url, runId })) streamed.push(text);
    expect(numbers(streamed)).toEqual(all);
  });

  it('loses and repeats no line when the server is killed and started again in the middle', async (context) => {
    const { page } = await openPage(context);
    const stage = await setTestStage('resumed-stream');
    const environment = await reachableAddress();
    const first = await stage.start({ environment });
    const script = `seq -f 'before %.0f' 3000; ${waitAtGate('resume')}; seq -f 'after %.0f' 3000`;
    await writeShellService(stage.repository, 'platform/01.resumed', script);
    const { runId, url } = await pushRun(stage, first, 'Go on');
    await page.goto(url);
    await page.getByText('before 3000', { exact: true }).waitFor();
    const seen: LogMessage[] = [];
    for await (const message of readStream({ url: first.url, runId })) {
      const line = logMessage(message);
      if (line) seen.push(line);
      if (seen.length === 1_234) break;
    }
    await first.kill();
    const second = await stage.start({ environment });
    const lastEventId = seen.at(-1)?.id ?? 0;
    // The second attempt prints everything again from its start.
    await openGate(stage, 'resume');
    for await (const line of followLog({ url: second.url, runId, lastEventId })) seen.push(line);
    expect(await second.waitForRun(runId, 'succeeded')).toMatchObject({ attempt: 2 });

    const whole: LogMessage[] = [];
    for await (const line of followLog({ url: second.url, runId })) whole.push(line);
    expect(seen).toEqual(whole);
    const numbered = (word: string): string[] =>
      Array.from({ length: 3_000 }, (_, index) => `${word} ${index + 1}`);
    const printed = [...numbered('before'), ...numbered('before'), ...numbered('after')];
    expect(whole.map(({ text }) => text)).toEqual(printed);

    await page.locator('#outcome .state[data-state="succeeded"]').waitFor();
    const shown = linesOf(page, 'platform/resumed');
    await until('the last line', async () =>
      (await shown.last().textContent()) === 'after 3000' ? true : null,
    );
    const texts = await shown.allTextContents();
    expect(texts).toEqual(printed.slice(-texts.length));
    expect(await shown.last().locator('.number').getAttribute('data-number')).toBe(String(printed.length));
    await stepOf(page, 'platform/resumed').getByRole('searchbox').fill(':3001');
    await stepOf(page, 'platform/resumed').getByRole('searchbox').press('Enter');
    await page.locator('.line.again', { hasText: /^before 1$/ }).waitFor();
    expect(await second.stop()).toBe(0);
  });
});

describe('On a phone', () => {
  it('no page scrolls sideways, whatever it shows', async (context) => {
    const { page, complaints } = await openPage(context, { viewport: { width: 390, height: 844 } });
    const { stage, runner } = scene();
    const long = 'w'.repeat(300);
    const folder = `platform/06.${'very-long-name-'.repeat(8)}end`;
    const print = `
print("${long}" * 10)
print("\\t".join(["column"] * 60))
Path(os.environ["IAC_RESULT_FILE"]).write_text('{"action": "updated", "details": "${long}"}')`;
    await writePythonService(stage.repository, folder, print);
    await stage.repository.write(`${folder}/${'deep/'.repeat(30)}${'w'.repeat(200)}.txt`, 'long\n');
    const { runId, url } = await pushRun(stage, runner, long);
    await runner.waitForRun(runId, 'succeeded');
    await page.goto(`${runner.url}/runs`);
    await expectNoSidewaysScroll(page);
    await signIn(page, runner.url, API_TOKENS.operator, '/runs');
    await expectNoSidewaysScroll(page);
    for (const path of [
      '/',
      '/services',
      '/holds',
      '/deliveries',
      '/workers',
      `/services/platform/${'very-long-name-'.repeat(8)}end`,
    ]) {
      await page.goto(runner.url + path);
      await expectNoSidewaysScroll(page);
    }
    for (const address of [url, `${runner.url}/runs/${runId}`]) {
      await page.goto(address);
      await page.locator('details.step summary').click();
      for (const summary of await page.locator('#why summary').all()) await summary.click();
      await expectNoSidewaysScroll(page);
    }
    expect(complaints).toEqual([]);
  });
});

async function expectNoSidewaysScroll(page: Page): Promise<void> {
  expect([page.url(), await page.evaluate('document.documentElement.scrollWidth')]).toEqual([
    page.url(),
    390,
  ]);
}
