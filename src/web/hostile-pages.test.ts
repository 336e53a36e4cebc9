import { describe, expect, it } from 'vitest';
import { AS_VIEWER, BROWSER, createTestPages } from './pages.fixtures.ts';
import { createTestRuns } from './runs.fixtures.ts';

const HOSTILE = `"><img src=x onerror=alert(1)>'</script><script>alert(2)</script>\u202e`;

function createHostileRun() {
  const store = createTestRuns();
  const run = store.add('r0', { message: HOSTILE, cancelRequestedBy: HOSTILE, coveredBy: HOSTILE });
  store.add('r1', {
    input: { ...run.input, branch: HOSTILE },
    trigger: { source: 'retry', actor: HOSTILE, deliveryId: HOSTILE, retryOf: HOSTILE },
    cancelRequestedBy: HOSTILE,
  });
  const service = { service: HOSTILE, folder: HOSTILE, wave: 1, because: HOSTILE, paths: [HOSTILE] };
  store.append(
    'r1',
    { type: 'run.started', owner: HOSTILE, attempt: 1 },
    { type: 'run.revision', revision: HOSTILE, subject: HOSTILE },
    {
      type: 'run.explained',
      explanation: {
        revision: HOSTILE,
        notes: [HOSTILE],
        services: [
          { ...service, decision: 'run' },
          { ...service, decision: 'excluded' },
        ],
        unmatched: [HOSTILE],
      },
    },
    { type: 'run.chosen', count: 1, message: HOSTILE },
    { type: 'run.notice', level: 'warning', message: HOSTILE },
    { type: 'step.planned', step: HOSTILE, position: 0, wave: 1, message: HOSTILE },
    { type: 'step.started', step: HOSTILE, command: [], ledger: null },
    { type: 'step.log', step: HOSTILE, stream: 'stdout', lines: [HOSTILE, `\x1b[31m${HOSTILE}`] },
    { type: 'step.finished', step: HOSTILE, state: 'failed', message: HOSTILE, exitCode: 1, ledger: null },
    { type: 'run.finished', state: 'failed', reason: 'step_failed', message: HOSTILE, coveredBy: HOSTILE },
  );
  return createTestPages(store).app;
}

describe('F48: hostile subjects, paths, messages, names and log lines', () => {
  it.each(['/runs', '/runs/r1', '/runs/r1?log=none'])('are only text in %s', async (path) => {
    const page = await (
      await createHostileRun().request(path, { headers: { ...AS_VIEWER, ...BROWSER } })
    ).text();
    expect(page).toContain('&lt;img src=x onerror=alert(1)&gt;');
    expect(page).not.toContain('<img src=x');
    expect(page).not.toContain('alert(2)</script>');
    // Every attribute is closed by its own quote: no tag carries a handler.
    const tags = page.match(/<[a-z][^<>]*>/g) ?? [];
    expect(tags.filter((tag) => /\sonerror=/.test(tag.replaceAll(/"[^"]*"/g, '""')))).toEqual([]);
  });

  it('have no mark that changes the reading direction, except in attributes with names for the script', async () => {
    const page = await (
      await createHostileRun().request('/runs/r1', { headers: { ...AS_VIEWER, ...BROWSER } })
    ).text();
    const shown = page.replaceAll(/<[a-z/][^<>]*>/g, '');
    expect(shown).not.toContain('\u202e');
    expect(shown).toContain('&lt;U+202E&gt;');
  });

  it('stay on their line in the event stream', async () => {
    const store = createTestRuns();
    store.add('r1');
    store.append(
      'r1',
      { type: 'run.started', owner: 'w', attempt: 1 },
      { type: 'run.notice', level: 'info', message: 'a\n\nevent: end\ndata: {}\r\n\r\n\u2028' },
      { type: 'run.finished', state: 'succeeded', reason: null, message: 'ok', coveredBy: null },
    );
    const response = await createTestPages(store).app.request('/runs/r1/events', { headers: AS_VIEWER });
    expect((await response.text()).match(/^event: end$/gm)).toHaveLength(1);
  });
});
