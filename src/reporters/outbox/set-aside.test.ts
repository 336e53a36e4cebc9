/** A stored run that makes a reporter throw loses its own report. The reports of other runs and the process go on. */

import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { ReporterFailedError } from '../../errors.ts';
import { createLocalReporting, type LocalReporting } from '../local-reporting.fixture.ts';
import { createDeployEventSource } from '../notifications/deploy-event-source.ts';
import { createDeployments, startEventReceiver } from '../notifications/event-receiver.fixture.ts';
import { startEventSender } from '../notifications/event-sender.ts';
import { createEventWebhook } from '../notifications/event-webhook-client.ts';
import { SUCCEEDED } from '../reporting.fixture.ts';
import { aPreview, aRun, createFastTime } from '../stored-runs.fixture.ts';

const MINUTE = 60_000;
const [FIRST, SECOND, THIRD, FOURTH] = [
  '1'.repeat(40),
  '2'.repeat(40),
  '3'.repeat(40),
  '4'.repeat(40),
] as const;

let reporting: LocalReporting;
let failures: Error[];

beforeEach(async () => {
  reporting = await createLocalReporting();
  failures = [];
});

afterEach(() => reporting.close());

/** Damages a row, as a bad disk or a defect of another version may do. `sql` has one parameter, the id. */
function damage(directory: string, sql: string, id: string): void {
  const database = new DatabaseSync(path.join(directory, 'iac-runner.db'), { timeout: 10_000 });
  expect(database.prepare(sql).run(id).changes).toBe(1);
  database.close();
}

const NO_INPUT = "UPDATE runs SET input = 'null' WHERE id = ?";
const NO_REVISION = `UPDATE runs SET input = '{"pullRequest":7}' WHERE id = ?`;

async function putSync(sha: string): Promise<void> {
  await reporting.runs.put(aRun({ id: sha, concurrencyGroup: sha, ...SUCCEEDED }, { revision: sha }));
}

async function putDamaged(sha: string): Promise<void> {
  await putSync(sha);
  damage(reporting.runs.directory, NO_INPUT, reporting.runs.idOf(sha));
}

/** Reports until so much time has passed, or the process has to end. */
async function reportFor(minutes: number): Promise<void> {
  const { start, clock, runs } = reporting;
  const until = clock() + minutes * MINUTE;
  await start(runs.store, (error) => failures.push(error));
  await expect.poll(() => failures.length > 0 || clock() > until, { timeout: 60_000 }).toBe(true);
}

function stateOf(sha: string): string | undefined {
  return reporting.github.statuses.latest(sha)?.state;
}

describe('A damaged run', () => {
  it('gets no commit status, which the log explains, and the other runs get theirs', async () => {
    await putDamaged(FIRST);
    await putSync(SECOND);
    await reportFor(30);
    expect([stateOf(FIRST), stateOf(SECOND)]).toEqual([undefined, 'success']);
    expect(failures).toEqual([]);
    const said = reporting.logged.filter((message) => message.includes('set aside'));
    const senders = ['commit statuses', 'deployments'];
    expect(said).toEqual(senders.map((what) => `${what}: a run is set aside by a defect; the others go on`));
  });

  it('is tried again when its state has changed, and after a restart', async () => {
    const { runs, start } = reporting;
    await runs.put(aRun({ id: FIRST, concurrencyGroup: FIRST, state: 'running' }, { revision: FIRST }));
    await putSync(SECOND);
    const input = JSON.stringify((await runs.store.run(runs.idOf(FIRST)))?.input);
    const repair = `UPDATE runs SET input = '${input}' WHERE id = ?`;
    const names = [FIRST, SECOND].map(runs.idOf);
    for (const id of names) damage(runs.directory, NO_INPUT, id);
    await (await start()).idle();
    for (const id of names) damage(runs.directory, repair, id);
    await runs.change(FIRST, SUCCEEDED);
    await expect.poll(() => stateOf(FIRST), { timeout: 15_000 }).toBe('success');
    await (await start()).idle();
    expect(await runs.store.unreported('commit-status', 10)).toEqual([]);
  });

  it('gets no comment, and the other pull requests get theirs', async () => {
    const { github, runs, start } = reporting;
    for (const pullRequest of [7, 8]) {
      const id = `preview-${pullRequest}`;
      await runs.put(aPreview({ id, concurrencyGroup: id, ...SUCCEEDED }, { revision: FIRST, pullRequest }));
    }
    damage(runs.directory, NO_REVISION, runs.idOf('preview-7'));
    await (await start()).idle();
    expect([github.comments.of(7).length, github.comments.of(8).length]).toEqual([0, 1]);
  });

  it('sends no events, and the other deployments send theirs', async () => {
    const receiver = await startEventReceiver();
    const deployments = await createDeployments();
    onTestFinished(() => receiver.close());
    onTestFinished(() => deployments.close());
    const ids: string[] = [];
    for (let i = 0; i < 2; i += 1) {
      ids.push(await deployments.deploy());
      await deployments.finish(await deployments.begin());
    }
    damage(deployments.directory, NO_INPUT, ids[0] ?? '');
    const said: object[] = [];
    const webhooks = startEventSender({
      store: deployments.store,
      source: createDeployEventSource({
        store: deployments.store,
        sendEvent: createEventWebhook({
          secret: `whsec_${Buffer.alloc(32, 7).toString('base64')}`,
          rules: { protocols: ['http'], hosts: ['127.0.0.1'] },
          version: '1',
        }),
        url: receiver.url,
        runUrl: (id) => `https://runner.example/runs/${id}`,
      }),
      log: { info: () => undefined, warn: () => undefined, error: (fields) => said.push(fields) },
      random: () => 0,
      ...createFastTime(),
    });
    onTestFinished(() => webhooks.stop());
    await webhooks.idle();
    expect(receiver.seen.map(({ body }) => body.data.deployment_id)).toEqual([ids[1], ids[1]]);
    expect(said).toMatchObject([{ runId: ids[0], nextAction: expect.stringContaining('restart') }]);
  });
});

describe('A defect that every run meets', () => {
  it('ends the process after ten minutes, although each run is set aside', async () => {
    for (const sha of [FIRST, SECOND, THIRD]) await putDamaged(sha);
    await reportFor(30);
    expect(failures[0]).toBeInstanceOf(ReporterFailedError);
  });

  it('is not assumed if only two runs meet it', async () => {
    for (const sha of [FIRST, SECOND]) await putDamaged(sha);
    await reportFor(30);
    expect(failures).toEqual([]);
  });

  it('is not assumed while the report of another run is sent', async () => {
    for (const sha of [FIRST, SECOND, THIRD]) await putDamaged(sha);
    await putSync(FOURTH);
    await reportFor(30);
    expect(failures).toEqual([]);
    expect(stateOf(FOURTH)).toBe('success');
  });
});
