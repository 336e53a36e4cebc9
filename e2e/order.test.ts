/** The order in which a run syncs its services. */

import { describe, expect, it } from 'vitest';
import { appendLine, FOLDERS, writeGatedService } from './support/platform-services.ts';
import { acceptedRun } from './support/run-actions.ts';
import { openGate } from './support/shared-stage.ts';
import { setTestStage } from './support/test-stage.ts';

describe('The order', () => {
  it('is wave after wave, and within a wave four services at once', async () => {
    const stage = await setTestStage('waves');
    const runner = await stage.start();
    const { repository, journal } = stage;
    const gates = ['a', 'b', 'c', 'd', 'e'];
    for (const gate of gates) await writeGatedService(repository, `platform/06.${gate}`, gate);
    await writeGatedService(repository, 'platform/07.last', 'last');
    await openGate(stage, 'last');
    await repository.commit('Six services in two waves');
    const runId = acceptedRun(await stage.push(runner));
    for (const gate of gates.slice(0, 4)) await journal.waitForStart(`platform/${gate}`);
    const started = (await journal.read()).syncs;
    expect(started.map(({ endedNs }) => endedNs)).toEqual([null, null, null, null]);
    for (const gate of gates) await openGate(stage, gate);
    await runner.waitForRun(runId, 'succeeded');
    const { syncs, overlaps } = await journal.read();
    expect(syncs).toHaveLength(6);
    const [last] = syncs.splice(5);
    expect(last?.service).toBe('platform/last');
    for (const { endedNs } of syncs) expect(endedNs).toBeLessThanOrEqual(last?.startedNs ?? 0n);
    expect(overlaps).toEqual([]);
  });

  it('is one by one with SYNC_CONCURRENCY=1, and still by waves, also for numbers of different lengths', async () => {
    const stage = await setTestStage('one-by-one');
    const runner = await stage.start({ environment: { SYNC_CONCURRENCY: '1' } });
    await appendLine(stage.repository, 'libs/console.py', '# All');
    await stage.repository.commit('Change what is shared');
    await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    const { syncs } = await stage.journal.read();
    expect(syncs.map(({ service }) => service)).toEqual(Object.keys(FOLDERS));
    for (const [index, { startedNs }] of syncs.entries()) {
      expect(syncs[index - 1]?.endedNs ?? 0n).toBeLessThanOrEqual(startedNs);
    }
  });
});
