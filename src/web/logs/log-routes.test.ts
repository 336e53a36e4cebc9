/** Tests the requests for parts of a log, over a real store. */

import { describe, expect, it } from 'vitest';
import type { RunEventBody } from '../../runs/run-events.ts';
import { signRunLink } from '../access/access.ts';
import { AS_VIEWER, createTestPages, LINK_KEY } from '../pages.fixtures.ts';
import { createTestRuns, START_AT, type TestRuns } from '../runs.fixtures.ts';

const STEP = 'platform/postgres';

function log(lines: string[], step = STEP, stream: 'stdout' | 'stderr' = 'stdout'): RunEventBody {
  return { type: 'step.log', step, stream, lines };
}

function started(step = STEP): RunEventBody {
  return { type: 'step.started', step, command: ['true'], ledger: null };
}

/** A run with two steps, whose second has failed. */
function addRun(store: TestRuns): void {
  store.add('r1');
  store.append(
    'r1',
    { type: 'run.started', owner: 'w1', attempt: 1 },
    { type: 'run.chosen', count: 2, message: 'Syncing 2 service(s)...' },
    { type: 'step.planned', step: STEP, position: 0, wave: 1, message: 'Its folder changed.' },
    { type: 'step.planned', step: 'platform/redis', position: 1, wave: 1, message: 'Its folder changed.' },
    started(),
    log(['\x1b[31mone\x1b[0m', 'two <b>']),
    started('platform/redis'),
    log(['redis'], 'platform/redis'),
    log(['three fails'], STEP, 'stderr'),
    log(['four', 'Fatal: five', 'six']),
  );
}

function createPages() {
  const store = createTestRuns();
  addRun(store);
  const { app } = createTestPages(store);
  const ask = async (query: string, headers: Record<string, string> = AS_VIEWER) => {
    const response = await app.request(`/runs/r1/${query}`, { headers });
    return { status: response.status, body: JSON.parse(await response.text()) };
  };
  return { store, app, ask };
}

const at = (event: number) => new Date(START_AT + event * 1_000).toISOString();

describe('numbered lines', () => {
  it('are read from any line, with their times and without colours', async () => {
    const { ask } = createPages();
    expect((await ask(`log?step=${STEP}&from=2&lines=3`)).body).toEqual({
      step: STEP,
      from: 2,
      total: 6,
      lines: [
        { number: 2, at: at(6), text: 'two <b>' },
        { number: 3, at: at(9), text: 'three fails' },
        { number: 4, at: at(10), text: 'four' },
      ],
    });
    expect((await ask('log?from=1&lines=1')).body).toMatchObject({ step: STEP, lines: [{ text: 'one' }] });
    expect((await ask('log?step=platform/redis&from=1')).body).toMatchObject({ total: 1 });
  });

  it('are none after the last one', async () => {
    const { ask } = createPages();
    for (const query of ['from=7', 'from=100000000000', 'from=2&lines=0']) {
      expect((await ask(`log?step=${STEP}&${query}`)).body).toMatchObject({ total: 6, lines: [] });
    }
  });

  it('are refused for a number that is none, and for an unknown step', async () => {
    const { ask } = createPages();
    for (const value of ['', 'x', '-1', '1.5', '1e3', '0x1', '%00', '9'.repeat(30)]) {
      for (const name of ['from', 'lines']) {
        expect((await ask(`log?step=${STEP}&${name}=${value}`)).status, `${name}=${value}`).toBe(400);
      }
    }
    expect((await ask('log?from=0')).status).toBe(400);
    expect((await ask('log?step=none&from=1')).status).toBe(404);
  });

  it('are cut to a size, and go on from there', async () => {
    const { store, ask } = createPages();
    store.append('r1', ...Array.from({ length: 40 }, () => log([...'ab'].map((c) => c.repeat(16_000)))));
    const { body } = await ask(`log?step=${STEP}&from=7&lines=80`);
    expect(body.lines.length).toBeGreaterThan(30);
    expect(body.lines.length).toBeLessThan(40);
    const next = 7 + body.lines.length;
    expect((await ask(`log?step=${STEP}&from=${next}&lines=1`)).body.lines[0].number).toBe(next);
  });

  it('have colours, streams and a mark where the step was started again, for the page', async () => {
    const { store, ask } = createPages();
    store.append('r1', {
      type: 'run.requeued',
      message: 'Its worker has ended.',
      countAttempt: true,
      notBefore: 0,
    });
    store.append(
      'r1',
      { type: 'run.started', owner: 'w1', attempt: 2 },
      { type: 'step.planned', step: STEP, position: 0, wave: 1, message: 'Its folder changed.' },
      started(),
      log(['one']),
    );
    const { body } = await ask(`log?step=${STEP}&from=1&lines=10&spans=true`);
    expect(body.lines[0]).toEqual({
      number: 1,
      at: at(6),
      stream: 'stdout',
      spans: [{ text: 'one', classes: 'fg-1' }],
    });
    expect(body.lines.filter((line: { again?: true }) => line.again)).toEqual([
      { number: 7, at: expect.any(String), stream: 'stdout', spans: [{ text: 'one' }], again: true },
    ]);
    const alone = await ask(`log?step=${STEP}&from=7&lines=1&spans=true`);
    expect(alone.body.lines).toMatchObject([{ number: 7, again: true }]);
  });

  it('can be those alone that are errors', async () => {
    const { ask } = createPages();
    const numbers = (body: { lines: { number: number }[] }) => body.lines.map(({ number }) => number);
    const all = (await ask(`log?step=${STEP}&errors=true`)).body;
    expect([numbers(all), all.next]).toEqual([[3, 5], null]);
    const first = (await ask(`log?step=${STEP}&errors=true&lines=1`)).body;
    expect([numbers(first), first.next]).toEqual([[3], 5]);
  });
});

describe('a search', () => {
  it('gives the numbers of the lines that have the text as it is shown', async () => {
    const { ask } = createPages();
    const search = async (text: string) => (await ask(`log?step=${STEP}&search=${text}`)).body;
    expect(await search('FA')).toEqual({ step: STEP, lines: [3, 5], more: false });
    expect(await search('one')).toEqual({ step: STEP, lines: [1], more: false });
    expect(await search('%1B[31m')).toEqual({ step: STEP, lines: [], more: false });
    expect((await ask(`log?step=${STEP}&search=`)).status).toBe(400);
  });

  it('says that there is more, and goes on from a line', async () => {
    const { store, ask } = createPages();
    store.append('r1', log(Array.from({ length: 1_500 }, (_, index) => `found ${index}`)));
    const first = (await ask(`log?step=${STEP}&search=found`)).body;
    expect([first.lines.length, first.more]).toEqual([1_000, true]);
    const rest = (await ask(`log?step=${STEP}&search=found&from=${first.lines.at(-1) + 1}`)).body;
    expect([rest.lines.length, rest.more]).toEqual([500, false]);
  });
});

describe('log.txt', () => {
  it('is the whole log without colours', async () => {
    const { app } = createPages();
    const text = async (query: string) =>
      (await app.request(`/runs/r1/log.txt${query}`, { headers: AS_VIEWER })).text();
    expect(await text(`?step=${STEP}`)).toBe('one\ntwo <b>\nthree fails\nfour\nFatal: five\nsix\n');
    expect(await text('')).toBe(
      `==> ${STEP} <==\none\ntwo <b>\n==> platform/redis <==\nredis\n==> ${STEP} <==\nthree fails\nfour\nFatal: five\nsix\n`,
    );
    expect((await app.request('/runs/r1/log.txt?step=none', { headers: AS_VIEWER })).status).toBe(404);
  });
});

describe('the signed link of a run', () => {
  it('opens its log, and no other one', async () => {
    const { store, app, ask } = createPages();
    store.add('r2');
    const key = signRunLink(LINK_KEY, 'r1');
    expect((await ask(`log?from=1&key=${key}`, {})).status).toBe(200);
    for (const path of ['r1/log?from=1', 'r1/log.txt', `r2/log?from=1&key=${key}`, `r2/log.txt?key=${key}`]) {
      expect((await app.request(`/runs/${path}`)).status, path).toBe(401);
    }
  });
});
