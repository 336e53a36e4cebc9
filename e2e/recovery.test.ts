/** The server, its tasks and its git are killed, and the server recovers without help. */

import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { writePythonService } from './support/hand-made-service.ts';
import { commitChange, syncedAt, writeGatedService } from './support/platform-services.ts';
import { processesMentioning } from './support/processes.ts';
import { pushRun } from './support/pushed-run.ts';
import { acceptedRun } from './support/run-actions.ts';
import { runProgram } from './support/runner.ts';
import { openGate } from './support/shared-stage.ts';
import { setTestStage } from './support/test-stage.ts';
import { until } from './support/until.ts';

describe('A server', () => {
  it('F25: ends the orphaned task of its killed predecessor before the service runs again, and the run ends', async () => {
    const stage = await setTestStage('recovery');
    const first = await stage.start();
    await writeGatedService(stage.repository, 'platform/06.gated', 'orphan');
    const { commit, runId } = await pushRun(stage, first);
    const orphan = await stage.journal.waitForStart('platform/gated');
    await first.kill();
    // The orphan holds the journal's lock file as long as it lives, so the journal would show two tasks at once as
    // an overlap.
    expect(await processesMentioning(stage.folder)).not.toEqual([]);
    const second = await stage.start();
    const again = await stage.journal.waitForStart('platform/gated', 2);
    expect(again.pid).not.toBe(orphan.pid);
    await openGate(stage, 'orphan');
    const run = await second.waitForRun(runId, 'succeeded');
    expect(run.attempt).toBe(2);
    const { overlaps } = await stage.journal.read();
    expect(overlaps).toEqual([]);
    await stage.github.statuses.waitFor({ sha: commit, state: 'success' });
    // Neither the files of the interrupted task nor its lock are left.
    const left = [
      ...(await readdir(join(stage.folder, 'data/tmp'))),
      ...(await readdir(join(stage.folder, 'workspace'))),
    ];
    expect(left.toSorted()).toEqual(['platform']);
  });

  it('F25: ends such a task also when the task has left its session', async () => {
    const stage = await setTestStage('escape');
    const first = await stage.start();
    await writePythonService(
      stage.repository,
      'platform/06.escaping',
      `
import subprocess
subprocess.Popen(["setsid", "sleep", "300"], cwd=os.environ["IAC_EXAMPLE_STATE"])
Path(os.environ["IAC_EXAMPLE_STATE"], "escaped").touch()
while not (Path(os.environ["IAC_EXAMPLE_STATE"]) / "gate-escape").exists():
    time.sleep(0.05)`,
    );
    const { runId } = await pushRun(stage, first);
    await until('the escape', async () => {
      const { existsSync } = await import('node:fs');
      return existsSync(join(stage.folder, 'state', 'escaped')) ? true : null;
    });
    await first.kill();
    await openGate(stage, 'escape');
    const second = await stage.start();
    await second.waitForRun(runId, 'succeeded');
    await until('the end of all processes of the dead run', async () => {
      const left = (await processesMentioning(runId)).length;
      return left === 0 ? true : null;
    });
  });

  it('gives up on a run that kills the server each time, visibly, and continues with the next run', async () => {
    const stage = await setTestStage('killer');
    await writePythonService(
      stage.repository,
      'platform/06.killer',
      `
import signal
parent = os.getppid()
os.kill(parent, signal.SIGKILL)
time.sleep(30)`,
    );
    const environment = { RETRY_LIMIT: '2', SYNC_RETRIES: '0' };
    const first = await stage.start({ environment });
    const { runId, commit } = await pushRun(stage, first);
    await first.exited;
    const second = await stage.start({ environment });
    await second.exited;
    const third = await stage.start({ environment });
    const run = await third.waitForRun(runId, 'errored');
    expect(run).toMatchObject({ reason: 'attempts_exhausted', attempt: 2 });
    await stage.github.statuses.waitFor({ sha: commit, state: 'error' });
    expect((await third.getJson('/health', null)).status).toBe(200);
  });

  it('F21: keeps its data directory from a second server, which is refused with one clear line', async () => {
    const stage = await setTestStage('second');
    await stage.start();
    const { exitCode, stderr } = await runProgram(['serve'], stage.runnerOptions);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/^iac-runner serve: Another iac-runner already uses the data directory .*\n?$/);
  });

  it('F24: uses up no attempt and loses nothing when it is restarted several times in a row', async () => {
    const stage = await setTestStage('restarts');
    await writeGatedService(stage.repository, 'platform/06.gated', 'restarts');
    let runner = await stage.start({ environment: { DRAIN_TIMEOUT: '0' } });
    const { runId } = await pushRun(stage, runner);
    await stage.journal.waitForStart('platform/gated');
    for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGTERM', 'SIGHUP', 'SIGINT'] as const) {
      runner.signal(signal);
      expect([signal, await runner.exited]).toEqual([signal, { exitCode: 0, signal: null }]);
      runner = await stage.start({ environment: { DRAIN_TIMEOUT: '0' } });
    }
    await openGate(stage, 'restarts');
    const run = await runner.waitForRun(runId, 'succeeded');
    expect(run.attempt).toBe(1);
    expect((await stage.journal.read()).overlaps).toEqual([]);
  });
});

describe('The branch head', () => {
  it('F11: is compared with the ledger at the start, so a push that was made while the server was down is found', async () => {
    const stage = await setTestStage('down');
    const first = await stage.start();
    const known = await commitChange(stage.repository, ['platform/redis'], 'known');
    await stage.push(first);
    await first.waitForRun((run) => run.revision === known, 'succeeded');
    await first.stop();
    const lost = await commitChange(stage.repository, ['platform/minio', 'platform/dashy'], 'lost');
    await stage.repository.push();
    const second = await stage.start();
    const run = await second.waitForRun((found) => found.revision === lost, 'succeeded');
    expect(run).toMatchObject({ trigger: { source: 'reconcile' } });
    expect(await syncedAt(stage.journal, lost)).toEqual(['platform/dashy', 'platform/minio']);
    await stage.github.statuses.waitFor({ sha: lost, state: 'success' });
    expect(second.logs().some(({ msg }) => msg === 'the branch is ahead of what was synced')).toBe(true);
  });

  it('is compared regularly, so a lost delivery does not matter', async () => {
    const stage = await setTestStage('lost');
    const runner = await stage.start({ environment: { RECONCILE_INTERVAL: '1' } });
    await until('the first look', async () =>
      runner.logs().some(({ msg }) => String(msg).startsWith('the branch is seen for the first time'))
        ? true
        : null,
    );
    const lost = await commitChange(stage.repository, ['platform/vault'], 'lost');
    await stage.repository.push();
    await runner.waitForRun((found) => found.revision === lost, 'succeeded');
    expect(await syncedAt(stage.journal, lost)).toEqual(['platform/vault']);
  });

  it('is compared soon after a push that named no service', async () => {
    const stage = await setTestStage('nudge');
    const runner = await stage.start({ environment: { RECONCILE_INTERVAL: '0' } });
    const first = await commitChange(stage.repository, ['platform/redis'], 'first');
    await stage.push(runner);
    await runner.waitForRun((found) => found.revision === first, 'succeeded');
    await commitChange(stage.repository, ['platform/vault'], 'lost');
    await stage.repository.push();
    await stage.repository.write('README.md', 'Only words.\n');
    const head = await stage.repository.commit('Only words');
    expect((await stage.push(runner)).body).toMatchObject({ status: 'no_changes' });
    await runner.waitForRun((found) => found.revision === head, 'succeeded');
    expect(await syncedAt(stage.journal, head)).toEqual(['platform/vault']);
  });

  it('makes no run when there is nothing to do', async () => {
    const stage = await setTestStage('idle');
    // This server looks once, at its start. A later look might see the push before its delivery arrives.
    const first = await stage.start();
    const commit = await commitChange(stage.repository, ['platform/redis'], 'once');
    await stage.push(first);
    await first.waitForRun((found) => found.revision === commit, 'succeeded');
    await first.stop();
    const runner = await stage.start({ environment: { RECONCILE_INTERVAL: '1' } });
    await new Promise((resolve) => setTimeout(resolve, 3_500));
    expect(await runner.runs()).toHaveLength(1);
  });
});

describe('A failed service', () => {
  it('is not retried at once, and a push of anything else tries it again', async () => {
    const stage = await setTestStage('retries');
    // This server looks once, at its start. A later look might see a push before its delivery arrives.
    const first = await stage.start();
    await stage.repository.write('platform/01.redis/compose.yaml', 'imgae: redis\n');
    const { runId } = await pushRun(stage, first, 'Break redis');
    await first.waitForRun(runId, 'failed');
    await commitChange(stage.repository, ['platform/minio'], 'other');
    const run = await first.waitForRun(acceptedRun(await stage.push(first)), 'failed');
    expect(run.message).toBe('1/2 service(s) failed to sync');
    await first.stop();
    const runner = await stage.start({ environment: { RECONCILE_INTERVAL: '1' } });
    // The first automatic retry is due after a minute.
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    expect(await runner.runs()).toHaveLength(2);
  });
});

describe('git', () => {
  it('F33: that is killed with the server in the middle of a fetch does not block the next fetch', async () => {
    const stage = await setTestStage('git');
    const bin = join(stage.folder, 'bin');
    await mkdir(bin);
    const slow = join(stage.folder, 'slow-git');
    // A fetch is slow as long as the file exists, so the server is killed while git fetches.
    await writeFile(
      join(bin, 'git'),
      `#!/bin/sh\nfor word in "$@"; do if [ "$word" = fetch ] && [ -e "${slow}" ]; then touch "${slow}.started"; sleep 300; fi; done\nPATH="\${PATH#*:}" exec git "$@"\n`,
      { mode: 0o755 },
    );
    const environment = { PATH: `${bin}:${process.env.PATH ?? ''}` };
    const first = await stage.start({ environment });
    await writeFile(slow, '');
    const commit = await commitChange(stage.repository, ['platform/redis'], 'slow');
    const { body } = await stage.push(first);
    await until('git to hang', async () => {
      const { existsSync } = await import('node:fs');
      return existsSync(`${slow}.started`) ? true : null;
    });
    await first.kill();
    const { rm } = await import('node:fs/promises');
    await rm(slow);
    const second = await stage.start({ environment });
    await second.waitForRun((body as { run_id: string }).run_id, 'succeeded');
    expect(await syncedAt(stage.journal, commit)).toEqual(['platform/redis']);
    await until('the end of git', async () =>
      (await processesMentioning(`${slow}`)).length === 0 ? true : null,
    );
  });
});
