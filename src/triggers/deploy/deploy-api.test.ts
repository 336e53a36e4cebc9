import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { planRequest } from '../../stores/run-store-contract.ts';
import { DAY } from '../../units.ts';
import {
  awaiting,
  claimNext,
  DEPLOY_BODY,
  ended,
  openDeployments,
  SILENT,
  toApproval,
} from '../deployments.fixture.ts';
import { expireApprovals, startApprovals } from '../github/approvals.ts';

const ADA = { name: 'ada', mayApprove: true };
const OSCAR = { name: 'oscar', mayApprove: false };

let stage: Awaited<ReturnType<typeof openDeployments>>;
beforeEach(async () => {
  stage = await openDeployments();
});
afterEach(() => stage.close());

async function startOne(fields: object = {}): Promise<string> {
  return (await stage.api().start({ ...DEPLOY_BODY, ...fields }, OSCAR)).id;
}

/** Brings the only queued deployment to its approval. */
async function showPlan(expiresAt = stage.clock.now + DAY): Promise<void> {
  const { lease } = await claimNext(stage.store());
  await stage.store().append(lease, toApproval(expiresAt));
}

describe('Starting a deployment', () => {
  it('stores it with its caller, target, priority and labels', async () => {
    const id = await startOne({ priority: 7, labels: ['aws'] });
    expect(await stage.store().run(id)).toMatchObject({
      kind: 'deploy',
      state: 'queued',
      trigger: { source: 'deploy_api', actor: 'oscar' },
      concurrencyGroup: 'deploy:https://github.com/acme/infra#stacks/network',
      priority: 7,
      labels: ['aws'],
      input: { path: 'stacks/network', gitRef: 'main' },
    });
  });

  it('is refused to an operator if there is no wall, before the request is read, and allowed to an admin', async () => {
    const api = stage.api({ operatorsMayDeploy: false });
    for (const body of [DEPLOY_BODY, {}]) {
      await expect(api.start(body, OSCAR)).rejects.toMatchObject({
        status: 403,
        message: expect.stringMatching(/EXECUTOR_COMMAND.*TRUST_OPERATORS/),
      });
    }
    expect(await stage.store().runs({ limit: 10 })).toEqual([]);
    const run = await api.start(DEPLOY_BODY, ADA);
    expect(run.input).not.toHaveProperty('needsWall');
  });

  it('by an operator is stored as one that only machines with a wall may run', async () => {
    expect(await stage.store().run(await startOne())).toMatchObject({ input: { needsWall: true } });
  });

  it('stores credentials encrypted in every file, and can decrypt them', async () => {
    const id = await startOne({
      env_vars: { TF_VAR_password: 'CANARY-env' },
      git_url: 'https://me:CANARY-url@github.com/acme/infra.git',
      init_flags: '-backend-config=secret_key=CANARY-init',
      plan_flags: '-var token=CANARY-plan',
    });
    const sealed = await stage.store().sealed(id);
    expect(JSON.parse(stage.open(sealed ?? '') ?? '')).toEqual({
      environment: { TF_VAR_password: 'CANARY-env' },
      git: { type: 'http', username: 'me', password: 'CANARY-url' },
      initFlags: ['-backend-config=secret_key=CANARY-init'],
      planFlags: ['-var', 'token=CANARY-plan'],
    });
    for (const suffix of ['', '-wal']) {
      const file = await readFile(path.join(stage.directory, `iac-runner.db${suffix}`), 'latin1');
      expect(file).not.toContain('CANARY');
      expect(file).not.toContain(Buffer.from('CANARY-env').toString('base64').slice(0, 12));
    }
  });

  it('is refused with a list of all problems, for an unknown version, and for auto_approve without the right to approve', async () => {
    const { start } = stage.api();
    await expect(start({ tool: 'bash' }, ADA)).rejects.toMatchObject({
      status: 400,
      message: 'tool: must be terraform or tofu; git_url: is required; git_ref: is required',
    });
    await expect(start({ ...DEPLOY_BODY, tool_version: '9.9' }, ADA)).rejects.toMatchObject({
      status: 400,
      message: 'tool_version: terraform 9.9 is not installed; there is 1.11.4',
    });
    for (const destroy of [false, true]) {
      const body = { ...DEPLOY_BODY, destroy, auto_approve: true };
      await expect(start(body, OSCAR)).rejects.toMatchObject({ status: 403 });
    }
    expect(await stage.store().runs({ limit: 10 })).toEqual([]);
    expect((await start({ ...DEPLOY_BODY, auto_approve: true }, ADA)).input).toMatchObject({
      autoApprove: true,
    });
  });

  it('finds the group of a target however its address is spelled', () => {
    const { groupOf } = stage.api();
    const group = 'deploy:https://github.com/acme/infra#stacks/network';
    expect(groupOf('https://me:x@GitHub.com:443/acme/infra.git', './stacks//network/')).toBe(group);
    expect(groupOf('/etc', '.')).toBeNull();
    expect(groupOf(DEPLOY_BODY.git_url, '../x')).toBeNull();
  });
});

describe('A decision', () => {
  it('is refused before the plan is shown, and then counts once', async () => {
    const id = await startOne();
    const { approve, reject } = stage.api();
    expect(await approve(id, 'ada')).toEqual({
      status: 'refused',
      reason: 'There is no plan to decide about yet: the deployment is queued',
    });
    const { lease } = await claimNext(stage.store());
    expect(await reject(id, 'ada')).toMatchObject({ status: 'refused' });
    await stage.store().append(lease, toApproval(stage.clock.now + DAY));
    expect(await approve(id, 'ada')).toMatchObject({ status: 'done' });
    const reason = 'The deployment was already approved by ada';
    expect(await approve(id, 'bob')).toEqual({ status: 'refused', reason });
    expect(await reject(id, 'bob')).toEqual({ status: 'refused', reason });
    expect(await stage.store().latestEvent(id, 'run.decided')).toMatchObject({
      decision: 'approved',
      by: 'ada',
      subject: 'digest',
    });
    const again = await claimNext(stage.store());
    await stage.store().append(again.lease, [ended('succeeded')]);
    expect(await approve(id, 'bob')).toEqual({ status: 'refused', reason });
  });

  it('that rejects ends the deployment', async () => {
    const id = await startOne();
    await showPlan();
    expect(await stage.api().reject(id, 'ada')).toMatchObject({
      status: 'done',
      run: { state: 'cancelled' },
    });
    expect(await stage.api().approve(id, 'ada')).toEqual({
      status: 'refused',
      reason: 'The deployment was already rejected by ada',
    });
  });

  it('about a failed deployment is refused, and an id without a deployment is reported as unknown', async () => {
    const id = await startOne();
    await stage.store().append((await claimNext(stage.store())).lease, [ended('failed', 'no')]);
    expect(await stage.api().approve(id, 'ada')).toEqual({
      status: 'refused',
      reason: 'The deployment has already ended: it has failed',
    });
    expect(await stage.api().approve('nope', 'ada')).toEqual({ status: 'unknown' });
  });

  it('is made once when an approval, a rejection, a cancel and the time limit race', async () => {
    for (let round = 0; round < 8; round += 1) {
      const id = await startOne();
      const expiresAt = stage.clock.now + 1;
      await showPlan(expiresAt);
      const { approve, reject, cancel } = stage.api();
      const { store } = stage;
      const late = { store: store(), now: () => expiresAt, log: SILENT };
      const attempts = [
        () => approve(id, 'ada'),
        () => reject(id, 'bob'),
        () => cancel(id, 'carl'),
        () => expireApprovals(late),
      ];
      const order = attempts.map((_, index) => attempts[(index + round) % attempts.length]);
      await Promise.all(order.map((attempt) => attempt?.()));
      const all = await store().events(id, { after: 0, limit: 500 });
      const decisions = all.filter(({ type }) => type === 'run.decided');
      expect(decisions.length).toBeLessThanOrEqual(1);
      expect(all.filter(({ type }) => type === 'run.finished')).toHaveLength(1);
      expect(await store().run(id)).toMatchObject({ state: 'cancelled' });
    }
  });
});

describe('A decision about a plan of a pull request', () => {
  it('that is refused mentions the plan', async () => {
    const { approve } = stage.api();
    const { run } = await stage.store().enqueue(planRequest());
    const reason = async () => {
      const result = await approve(run.id, 'ada');
      return result.status === 'refused' ? result.reason : result.status;
    };
    expect(await reason()).toBe('The plan does not wait for an approval now: it is queued');
    const claimed = await stage.store().claim({ owner: 'w', leaseMs: 60_000, kinds: ['plan'] });
    if (!claimed) throw new Error('Nothing to claim.');
    await stage.store().append(claimed.lease, [awaiting(stage.clock.now + DAY)]);
    expect(await reason()).toBe('done');
    expect(await reason()).toBe('The plan was already approved by ada');
  });

  it('that comes too late is refused with the outcome of the plan', async () => {
    const { run } = await stage.store().enqueue(planRequest());
    await stage.store().requestCancel(run.id, 'oscar');
    expect(await stage.api().approve(run.id, 'ada')).toEqual({
      status: 'refused',
      reason: 'The plan has already ended: it was cancelled',
    });
  });
});

describe('An approval that nobody gives', () => {
  it('expires, also when the server was down at that time', async () => {
    const id = await startOne();
    await showPlan(stage.clock.now + DAY);
    const approvals = { store: stage.store(), now: () => stage.clock.now, log: SILENT };
    await expireApprovals(approvals);
    expect(await stage.store().run(id)).toMatchObject({ state: 'awaiting_approval' });
    stage.clock.now += DAY;
    await stage.reopen();
    const started = startApprovals({ ...approvals, store: stage.store(), intervalMs: 50 });
    await expect
      .poll(() => stage.store().run(id))
      .toMatchObject({ state: 'cancelled', reason: 'approval_expired', approvalExpiresAt: null });
    await started.stop();
  });

  it('cannot be given after its time, even if the timer has not run since', async () => {
    const id = await startOne();
    await showPlan(stage.clock.now + 10);
    stage.clock.now += 10;
    expect(await stage.api().approve(id, 'ada')).toEqual({
      status: 'refused',
      reason: 'The approval has expired: nobody approved in time',
    });
    expect(await stage.store().run(id)).toMatchObject({ state: 'cancelled', reason: 'approval_expired' });
  });

  it('expires, even if another run is damaged', async () => {
    const ids: string[] = [];
    for (const name of ['first', 'second', 'third']) {
      ids.push(await startOne({ path: name }));
      await showPlan(stage.clock.now);
    }
    const database = new DatabaseSync(path.join(stage.directory, 'iac-runner.db'));
    database
      .prepare(`UPDATE events SET data = '{' WHERE type = 'run.awaiting_approval'
        AND run = (SELECT number FROM runs WHERE id = ?)`)
      .run(ids[1] ?? '');
    database.close();
    const approvals = { store: stage.store(), now: () => stage.clock.now, log: SILENT };
    await expect(expireApprovals(approvals)).rejects.toThrow('JSON');
    const states = await Promise.all(ids.map(async (id) => (await stage.store().run(id))?.state));
    expect(states).toEqual(['cancelled', 'awaiting_approval', 'cancelled']);
  });

  it('is found among many that have not expired', async () => {
    for (let index = 0; index < 130; index += 1) {
      await startOne({ path: `stack-${index}` });
      const { lease } = await claimNext(stage.store());
      await stage.store().append(lease, [awaiting(stage.clock.now + (index === 0 ? 1 : DAY))]);
    }
    await expireApprovals({ store: stage.store(), now: () => stage.clock.now + 1, log: SILENT });
    expect(await stage.store().runs({ state: 'cancelled', limit: 10 })).toMatchObject([
      { input: { path: 'stack-0' } },
    ]);
  });
});

describe('A cancel', () => {
  it('ends a waiting run at once, marks a running one, and is refused for one that has ended', async () => {
    const { cancel } = stage.api();
    const queued = await startOne();
    expect(await cancel(queued, 'oscar')).toMatchObject({ status: 'done', run: { state: 'cancelled' } });
    expect(await cancel(queued, 'oscar')).toEqual({ status: 'ended' });
    const waiting = await startOne();
    await showPlan();
    expect(await cancel(waiting, 'oscar')).toMatchObject({ status: 'done', run: { state: 'cancelled' } });
    const running = await startOne();
    const { lease } = await claimNext(stage.store());
    const marked = { status: 'done', run: { state: 'running', cancelRequestedBy: 'oscar' } };
    expect(await cancel(running, 'oscar')).toMatchObject(marked);
    expect(await cancel(running, 'ada')).toMatchObject(marked);
    await stage.store().append(lease, [ended('succeeded')]);
    expect(await cancel(running, 'ada')).toEqual({ status: 'ended' });
    expect(await cancel('nope', 'ada')).toEqual({ status: 'unknown' });
  });
});
