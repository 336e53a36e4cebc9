import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createReporting, type Reporting, RUNNING, SUCCEEDED, SYNCED } from '../reporting.fixture.ts';
import { answer, type Behaviour, hang, html, reset, truncated } from '../scripted-github.fixture.ts';

let reporting: Reporting;

beforeEach(async () => {
  reporting = await createReporting();
});

afterEach(() => reporting.close());

async function createAnother(options: Parameters<typeof createReporting>[0]): Promise<void> {
  await reporting.close();
  reporting = await createReporting(options);
}

describe('a GitHub that misbehaves', () => {
  it.each<[string, number, Behaviour]>([
    ['500', 1, answer(500, {})],
    ['500', 10, answer(500, {})],
    ['a page with 502', 10, html(502)],
    ['a reset', 3, reset],
    ['half a 201', 3, truncated],
    ['401', 3, answer(401, { message: 'Bad credentials' })],
    ['404', 30, answer(404, { message: 'Not Found' })],
    ['a redirect to another host', 30, answer(307, {}, { location: 'https://other.example/statuses/aaa' })],
    ['an unknown commit', 30, answer(422, { message: 'No commit found for SHA: aaa' })],
    ['429', 2, answer(429, {}, { 'retry-after': '120' })],
  ])('F44: %s, %i times: GitHub shows the final state in the end', async (_title, times, behaviour) => {
    await createAnother({ speed: 60 });
    const { gaps, github, put, seen, start, runs, unsettled } = reporting;
    github.script = Array.from({ length: times }, () => behaviour);
    await put('run-1', 'aaa', RUNNING);
    const { idle } = await start();
    await idle();
    await runs.change('run-1', SUCCEEDED);
    await idle();
    expect(seen().at(-1)).toBe(`aaa ${SYNCED}`);
    expect(github.standing.get('aaa')).toBe(SYNCED);
    expect(Math.min(...gaps())).toBeGreaterThanOrEqual(1_000);
    expect(await unsettled()).toEqual([]);
    expect(await runs.reports('run-1')).toMatchObject([{ failures: 0, problem: null }]);
  });

  it('F44: silence: GitHub shows the final state in the end', async () => {
    await createAnother({ timeoutMs: 300 });
    const { github, put, start, unsettled } = reporting;
    github.script = [hang, hang];
    await put('run-1', 'aaa', SUCCEEDED);
    await (await start()).idle();
    expect(github.standing.get('aaa')).toBe(SYNCED);
    expect(await unsettled()).toEqual([]);
  });

  it('F44: the waits double, up to a quarter of an hour', async () => {
    const { github, gaps, put, start } = reporting;
    github.script = Array.from({ length: 13 }, () => answer(500, {}));
    await put('run-1', 'aaa', SUCCEEDED);
    await (await start()).idle();
    const seconds = gaps().map((gap) => Math.round(gap / 1_000));
    expect(seconds).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]);
  });

  it.each<[string, Behaviour, number]>([
    ['retry-after', answer(403, {}, { 'retry-after': '90' }), 90_000],
    ['a secondary limit', answer(403, { message: 'secondary rate limit' }), 60_000],
    [
      'a used up limit',
      answer(
        429,
        {},
        {
          'x-ratelimit-remaining': '0',
          'x-ratelimit-reset': '1700003600',
          date: new Date(1_700_000_000_000).toUTCString(),
        },
      ),
      3_600_000,
    ],
  ])('F44: %s is honoured for all commits', async (_title, behaviour, waitMs) => {
    const { github, gaps, put, start } = reporting;
    github.script = [behaviour];
    await put('run-1', 'aaa', SUCCEEDED);
    await put('run-2', 'bbb', SUCCEEDED);
    await (await start()).idle();
    expect(gaps()[0]).toBeGreaterThanOrEqual(waitMs);
    expect(gaps()[0]).toBeLessThan(waitMs + 10_000);
    expect(github.standing.size).toBe(2);
  });

  it('F44: a commit that keeps failing does not hold up others', async () => {
    const { github, put, start } = reporting;
    github.script = [answer(500, {}), answer(500, {}), answer(500, {})];
    await put('run-1', 'aaa', SUCCEEDED);
    await put('run-2', 'bbb', SUCCEEDED);
    await (await start()).idle();
    expect(github.seen.map(({ sha }) => sha)).toEqual(['aaa', 'aaa', 'bbb', 'aaa', 'bbb']);
  });

  it('F44: a commit that stays unknown for a day is given up, and the report says so', async () => {
    await createAnother({ speed: 60 });
    const { github, logged, put, runs, start, unsettled } = reporting;
    github.always = answer(422, { message: 'No commit found for SHA: aaa' });
    await put('run-1', 'aaa', RUNNING);
    const { idle } = await start();
    await idle();
    expect(await unsettled()).toEqual(['run-1']);
    await runs.change('run-1', SUCCEEDED);
    await idle();
    const [first, last] = [github.seen[0], github.seen.at(-1)];
    expect((last?.at ?? 0) - (first?.at ?? 0)).toBeGreaterThan(20 * 3_600_000);
    expect(await unsettled()).toEqual([]);
    expect(await runs.reports('run-1')).toMatchObject([
      { sent: null, settled: true, problem: expect.stringMatching(/HTTP 422/) },
    ]);
    expect(logged).toContain('commit status is undeliverable; nothing more is sent for this run and commit');
  });

  it('F44: too many statuses of a commit are given up, and the report says so', async () => {
    const { github, put, runs, start, unsettled } = reporting;
    github.always = answer(422, { message: 'maximum number of statuses' });
    await put('run-1', 'aaa', SUCCEEDED);
    await (await start()).idle();
    expect(github.seen).toHaveLength(1);
    expect(await unsettled()).toEqual([]);
    expect(await runs.reports('run-1')).toMatchObject([{ sent: null, settled: true }]);
  });

  it('F45: a pending state that is answered late never replaces the final one', async () => {
    const { github, put, seen, start, runs } = reporting;
    await put('run-1', 'aaa', RUNNING);
    github.script = [
      async (_response, accept) => {
        await runs.change('run-1', SUCCEEDED);
        setTimeout(accept, 100);
      },
    ];
    await (await start()).idle();
    expect(seen()).toEqual(['aaa pending: Syncing 1 service(s)...', `aaa ${SYNCED}`]);
    expect(github.standing.get('aaa')).toBe(SYNCED);
    expect(github.maxAtOnce).toBe(1);
  });
});
