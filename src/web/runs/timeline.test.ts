import { expect, it } from 'vitest';
import type { Step } from '../../runs/run.ts';
import { messageWords } from './run-words.ts';
import { timeline } from './timeline.ts';

function step(position: number, changes: Partial<Step> = {}): Step {
  return {
    id: `platform/s${position}`,
    position,
    wave: 1,
    state: 'succeeded',
    message: '',
    exitCode: 0,
    startedAt: 1_000,
    finishedAt: 2_000,
    ...changes,
  };
}

const NOW = 11_000;

it('A wave has a row with a link to each of its steps, and a bar for its part of the time', async () => {
  const steps = [
    step(0),
    step(1, { finishedAt: 6_000 }),
    step(2, { wave: 2, state: 'running', startedAt: 6_000, finishedAt: null }),
    step(3, { wave: 3, state: 'pending', startedAt: null, finishedAt: null }),
  ];
  const rows = String(await timeline(steps, NOW))
    .split('<li>')
    .slice(1);
  expect(rows).toHaveLength(3);
  expect(rows[0]).toContain('wave 1');
  expect(rows[0]).toContain(
    'data-state="succeeded" href="#step-1"><bdi>platform/s1</bdi> <span class="quiet">5.0 s</span>',
  );
  expect(rows[0]).toContain('<rect x="0.0" y="0" width="500.0"');
  expect(rows[1]).toContain('<rect x="500.0" y="0" width="500.0"');
  expect(rows[1]).toContain('aria-label="From 5.0 s to 10 s of the run"');
  expect(rows[2]).toContain('<span class="quiet">pending</span>');
  expect(rows[2]).not.toContain('<svg');
});

it('A run of one step, or one that has not started, has no timeline', async () => {
  expect(String(await timeline([step(0)], NOW))).toBe('');
  expect(String(await timeline([step(0, { startedAt: null }), step(1, { startedAt: null })], NOW))).toBe('');
});

it('A very short wave at the end can still be seen, and stays inside', async () => {
  const late = step(1, { wave: 2, startedAt: 10_999_999, finishedAt: 11_000_000 });
  expect(String(await timeline([step(0), late], NOW))).toContain('<rect x="992.0" y="0" width="8.0"');
});

it.each([
  ['1/2 service(s) failed to sync', '1 of 2 services failed'],
  ['1/1 service(s) failed to sync', '1 of 1 service failed'],
  ['12 service(s) synced successfully', '12 services synced successfully'],
  ['Syncing 1 service(s)...', 'Syncing 1 service...'],
  ['21 service(s), 1 service(s)', '21 services, 1 service'],
])('The message %j is read by people as %j', (message, words) => {
  expect(messageWords(message)).toBe(words);
});
