import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConfigError } from '../../errors.ts';
import { enqueueRun } from '../../runs/enqueue.ts';
import type { DeployRun } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { createSqliteStore } from '../../stores/sqlite/sqlite-store.ts';
import { createSealer } from '../seal.ts';
import { startDriftChecks } from './drift.ts';

const sealer = createSealer(['a key of tests']);
const HOUR = 3_600_000;

let directory: string;
let file: string;
let store: RunStore;
let stopping: (() => Promise<void>)[];
let logged: string[];

beforeEach(async () => {
  directory = mkdtempSync(path.join(tmpdir(), 'iac-drift-'));
  file = path.join(directory, 'drift.yaml');
  store = await createSqliteStore({ directory: path.join(directory, 'data') });
  stopping = [];
  logged = [];
});

afterEach(async () => {
  for (const stop of stopping) await stop();
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

function write(...names: string[]): void {
  const targets = names.map(
    (name) => `
  - name: ${name}
    git_url: https://git.example.com/infra.git
    git_ref: main
    path: ${name}
    tool: tofu
    env: [TOKEN]`,
  );
  writeFileSync(file, `targets:${targets.join('')}\n`);
}

/** `aheadMs`: how far its clock is ahead of the store's. */
async function start({ intervalMs = 400, aheadMs = 0 } = {}): Promise<() => Promise<void>> {
  const log = pino({ level: 'info' }, { write: (line: string) => void logged.push(line) });
  const { stop } = await startDriftChecks({
    store,
    file,
    intervalMs,
    environment: { TOKEN: 's3cret-token' },
    rules: { protocols: ['https'], hosts: [] },
    seal: sealer.seal,
    now: () => Date.now() + aheadMs,
    log,
    firstMs: 10,
  });
  stopping.push(stop);
  return stop;
}

async function checks(): Promise<DeployRun[]> {
  return (await store.runs({ kind: 'deploy', limit: 100 }))
    .filter((run) => run.kind === 'deploy')
    .toReversed();
}

async function finishNext(): Promise<void> {
  const claim = await store.claim({ owner: 'w', leaseMs: 60_000 });
  if (!claim) throw new Error('There is nothing to begin.');
  await store.append(claim.lease, [
    { type: 'run.finished', state: 'succeeded', reason: null, message: 'Nothing differs', coveredBy: null },
  ]);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

describe('A drift check', () => {
  it('is a deployment that only plans, with its credentials sealed', async () => {
    write('network');
    await start();
    await expect.poll(checks).toHaveLength(1);
    const [run] = await checks();
    expect(run).toMatchObject({
      trigger: { source: 'drift_check', actor: 'network' },
      input: { operation: 'drift', path: 'network', autoApprove: false },
      priority: -1,
    });
    const sealed = await store.sealed(run?.id ?? '');
    expect(JSON.parse(sealer.open(sealed ?? '') ?? '')).toMatchObject({
      environment: { TOKEN: 's3cret-token' },
      git: null,
    });
    expect(JSON.stringify([run, logged])).not.toContain('s3cret');
  });

  it('is repeated after the interval, but not while another is active', async () => {
    write('network');
    await start();
    await expect.poll(checks).toHaveLength(1);
    await pause(1_000);
    expect(await checks()).toHaveLength(1);
    await finishNext();
    await expect.poll(checks).toHaveLength(2);
  });

  it('waits for a deployment of its target, and others do not', async () => {
    write('network', 'cluster');
    const unlike = { tfvarsFiles: [], callbackUrl: null, toolVersion: null };
    await enqueueRun(store, 'deploy', {
      trigger: { source: 'deploy_api', actor: 'ada' },
      priority: 0,
      labels: [],
      sealed: undefined,
      input: {
        operation: 'apply',
        tool: 'tofu',
        gitUrl: 'https://git.example.com/infra.git',
        gitRef: 'main',
        path: 'network',
        timeoutMs: 1,
        autoApprove: false,
        ...unlike,
      },
    });
    await start();
    await expect.poll(checks).toHaveLength(2);
    await pause(500);
    expect((await checks()).map(({ trigger }) => trigger.actor)).toEqual(['ada', 'cluster']);
    await finishNext();
    await expect.poll(checks).toHaveLength(3);
  });

  it('of many targets starts one after the other, one with each look', async () => {
    write('a', 'b', 'c', 'd');
    const stop = await start({ intervalMs: HOUR });
    await expect.poll(checks).toHaveLength(1);
    await pause(500);
    expect(await checks()).toHaveLength(1);
    await stop();
    await start({ intervalMs: 4_000 });
    await expect.poll(checks).toHaveLength(4);
  });

  it('is not started again by a restart before it is due', async () => {
    write('network');
    const stop = await start({ intervalMs: HOUR });
    await expect.poll(checks).toHaveLength(1);
    await finishNext();
    await stop();
    const again = await start({ intervalMs: HOUR });
    await pause(500);
    expect(await checks()).toHaveLength(1);
    await again();
    await start({ intervalMs: HOUR, aheadMs: HOUR + 1_000 });
    await expect.poll(checks).toHaveLength(2);
  });
});

describe('The file of drift targets', () => {
  it('is refused at the start when it is broken or not there', async () => {
    await expect(start()).rejects.toThrow(ConfigError);
    await expect(start()).rejects.toThrow(/ENOENT/);
    writeFileSync(file, 'targets:\n  - name: network\n');
    await expect(start()).rejects.toThrow(/drift\.yaml line 2, targets\.0\.tool: is required/);
  });

  it('is read again; a broken file is logged once, and the last good targets are used', async () => {
    write('network');
    await start();
    await expect.poll(checks).toHaveLength(1);
    writeFileSync(file, 'targets: [');
    await finishNext();
    await expect.poll(checks).toHaveLength(2);
    await expect.poll(() => logged.join('')).toContain('the last good targets are used');
    await pause(500);
    expect(logged.filter((line) => line.includes('the last good targets are used'))).toHaveLength(1);
    write('cluster');
    await expect.poll(async () => (await checks()).at(-1)?.trigger.actor).toBe('cluster');
    expect(logged.join('')).toContain('is good again');
  });
});
