/** F21: a server that is killed while it migrates an older store. */

import { readFileSync } from 'node:fs';
import { copyFile, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, it } from 'vitest';
import { commitChange } from './support/platform-services.ts';
import { killProcessesMentioning } from './support/processes.ts';
import { PROJECT_ROOT } from './support/project-root.ts';
import { acceptedRun } from './support/run-actions.ts';
import type { Stage } from './support/stage.ts';
import { serverKilledAt, straceOrSkip } from './support/strace.ts';
import { setTestStage } from './support/test-stage.ts';

const MIGRATIONS = join(PROJECT_ROOT, 'src/stores/sqlite/migrations');
const CALLS = 'pwrite64,fdatasync,fsync';
const ENVIRONMENT = { LOG_LEVEL: 'info', RECONCILE_INTERVAL: '0' };
/** KILL_POINTS=all tries every write; otherwise the gaps between the tries grow. */
const GAP_FACTOR = process.env.KILL_POINTS === 'all' ? 1 : 1.6;

/** Makes a store as the first version left it, with the runs of a store of today. */
function writeFirstVersion(file: string, today: string): void {
  const old = new DatabaseSync(file);
  old.exec('PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;');
  old.exec(readFileSync(join(MIGRATIONS, '001-runs.sql'), 'utf8'));
  const columns = old
    .prepare("SELECT name FROM pragma_table_info('runs')")
    .all()
    .map(({ name }) => `"${name}"`);
  old.prepare('ATTACH ? AS today').run(today);
  old.exec(`INSERT INTO runs (${columns}) SELECT ${columns} FROM today.runs`);
  old.exec('DETACH today; PRAGMA user_version = 1; PRAGMA wal_checkpoint(TRUNCATE)');
  old.close();
}

async function restoreFirstVersion(stage: Stage, kept: string): Promise<string> {
  const data = join(stage.folder, 'data');
  for (const name of await readdir(data)) {
    if (name.startsWith('iac-runner.db')) await rm(join(data, name));
  }
  await copyFile(kept, join(data, 'iac-runner.db'));
  return join(data, 'iac-runner.db');
}

function versionOf(file: string): number {
  const database = new DatabaseSync(file, { readOnly: true });
  try {
    expect(database.prepare('PRAGMA integrity_check').get()).toMatchObject({ integrity_check: 'ok' });
    return Number(database.prepare('PRAGMA user_version').get()?.user_version);
  } finally {
    database.close();
  }
}

it('F21: a migration that is killed at any write is continued by the next start, with every run', async (context) => {
  await straceOrSkip(context);
  const stage = await setTestStage('migrations');
  const first = await stage.start({ environment: ENVIRONMENT });
  await commitChange(stage.repository, ['platform/redis'], 'Before the upgrade');
  const runId = acceptedRun(await stage.push(first));
  await first.waitForRun(runId, 'succeeded');
  await first.stop();
  const kept = join(stage.folder, 'first-version/iac-runner.db');
  await mkdir(join(stage.folder, 'first-version'));
  writeFirstVersion(kept, join(stage.folder, 'data/iac-runner.db'));
  const newest = (await readdir(MIGRATIONS)).length;
  const seen = new Set<number>();
  try {
    for (let n = 1; ; n = Math.max(n + 1, Math.floor(n * GAP_FACTOR))) {
      const file = await restoreFirstVersion(stage, kept);
      const doomed = await stage
        .start({ program: serverKilledAt(CALLS, n), environment: ENVIRONMENT })
        .catch(() => null);
      await killProcessesMentioning(stage.folder);
      seen.add(versionOf(file));
      const next = await stage.start({ environment: ENVIRONMENT });
      expect(versionOf(file), `killed at call ${n}`).toBe(newest);
      expect(
        (await next.runs()).map(({ run_id }) => run_id),
        `killed at call ${n}`,
      ).toContain(runId);
      await next.kill();
      if (doomed) break;
    }
  } finally {
    // The traced server may still run when strace has ended.
    await killProcessesMentioning(stage.folder);
  }
  // The servers were killed before, during and after the migrations.
  expect(seen).toContain(1);
  expect(seen).toContain(newest);
  expect(seen.size).toBeGreaterThan(2);
});
