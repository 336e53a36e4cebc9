/** The workspace lock when others leave, hold or plant it, and the number of processes that a run needs. */

import { lstat, mkdir, readFile, rm, rmdir, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, it, onTestFinished } from 'vitest';
import { processSpace } from '../src/process/process-stat.ts';
import { readStream } from './support/event-stream.ts';
import { appendLine, writeGatedService } from './support/platform-services.ts';
import { type PushedRun, pushRun, readPage } from './support/pushed-run.ts';
import type { Runner } from './support/runner.ts';
import { openGate, shareStage } from './support/shared-stage.ts';
import type { Stage } from './support/stage.ts';
import { setTestStage } from './support/test-stage.ts';

const lockOf = (stage: Stage): string => join(stage.folder, 'workspace/.sync.lock');

async function pushProbe(stage: Stage, runner: Runner): Promise<PushedRun> {
  await appendLine(stage.repository, 'platform/04.dashy/conf.yml', `# ${Date.now()}`);
  return pushRun(stage, runner);
}

async function startsAt(stage: Stage, commit: string): Promise<number> {
  return (await stage.journal.read()).syncs.filter((sync) => sync.commit === commit).length;
}

/** Returns the run's message while it waits. Its page shows the message too, and no task was started yet. */
async function waitingNotice(stage: Stage, runner: Runner, { runId, commit }: PushedRun): Promise<string> {
  let notice: string | undefined;
  for await (const { event, data } of readStream({ url: runner.url, runId })) {
    if (event !== 'notice') continue;
    notice = String(data.message);
    if (notice.startsWith('Waiting for the workspace')) break;
  }
  expect(await readPage(runner, `/runs/${runId}`)).toContain(notice ?? 'a notice');
  expect(await runner.waitForRun(runId, 'running')).toMatchObject({ attempt: 1 });
  expect(await startsAt(stage, commit)).toBe(0);
  return notice ?? '';
}

/**
 * Starts a program that says "held" when it holds the lock in its own way, and releases the lock when its stdin
 * ends.
 */
async function startHolder(argv: [string, ...string[]]): Promise<{ pid: number; release(): Promise<void> }> {
  const [program, ...args] = argv;
  const holder = execa(program, args, { stdin: 'pipe', buffer: false, reject: false });
  onTestFinished(async () => {
    holder.kill('SIGKILL');
    await holder;
  });
  await new Promise<void>((resolve, reject) => {
    holder.stdout?.once('data', () => resolve());
    holder.nodeChildProcess.once('exit', () => reject(new Error(`${program} did not get the lock.`)));
  });
  return {
    pid: holder.pid ?? 0,
    async release() {
      holder.stdin?.end();
      await holder;
    },
  };
}

describe('F27: the workspace lock', () => {
  const scene = shareStage('sync-lock');

  it('is taken at once in place of a plain file that nobody holds, as the earlier receiver left it', async () => {
    const { stage, runner } = scene();
    await writeFile(lockOf(stage), 'pid 4711\n');
    const { runId } = await pushProbe(stage, runner);
    await runner.waitForRun(runId, 'succeeded');
    expect(await readPage(runner, `/runs/${runId}`)).not.toContain('Waiting for the workspace');
  });

  it('is waited for while somebody holds the plain file by flock, and the holder is named', async () => {
    const { stage, runner } = scene();
    const hold =
      'import fcntl,sys; f=open(sys.argv[1],"w"); fcntl.flock(f,fcntl.LOCK_EX); print("held",flush=True); sys.stdin.read()';
    const holder = await startHolder(['python3', '-c', hold, lockOf(stage)]);
    const pushed = await pushProbe(stage, runner);
    expect(await waitingNotice(stage, runner, pushed)).toBe(
      `Waiting for the workspace, held by process ${holder.pid}.`,
    );
    await holder.release();
    await runner.waitForRun(pushed.runId, 'succeeded');
    expect(await startsAt(stage, pushed.commit)).toBe(1);
  });

  it('is waited for while a neighbour keeps a folder of that name fresh, and the run says so', async () => {
    const { stage, runner } = scene();
    const hold =
      'mkdir "$1" && { (while sleep 1; do touch "$1"; done) & echo held; read -r _; kill $!; rmdir "$1"; }';
    const holder = await startHolder(['sh', '-c', hold, 'sh', lockOf(stage)]);
    const pushed = await pushProbe(stage, runner);
    expect(await waitingNotice(stage, runner, pushed)).toBe(
      'Waiting for the workspace, held by another program (a folder of that name exists and is kept fresh).',
    );
    await holder.release();
    await runner.waitForRun(pushed.runId, 'succeeded');
    expect(await startsAt(stage, pushed.commit)).toBe(1);
  });

  it.each(['a file', 'a folder', 'nothing'])(
    'takes the place of a link to %s and leaves the target of the link unchanged',
    async (what) => {
      const { stage, runner } = scene();
      const target = join(stage.folder, `target-of-${what.replace(' ', '-')}`);
      if (what === 'a file') await writeFile(target, 'precious\n', { mode: 0o640 });
      if (what === 'a folder') {
        await mkdir(target);
        await writeFile(join(target, 'file'), 'precious\n');
      }
      const before = await lstat(target).catch(() => null);
      await symlink(target, lockOf(stage));
      const { runId } = await pushProbe(stage, runner);
      await runner.waitForRun(runId, 'succeeded');
      const after = await lstat(target).catch(() => null);
      expect(after?.mtimeMs).toBe(before?.mtimeMs);
      expect(after?.mode).toBe(before?.mode);
      if (before)
        expect(await readFile(before.isFile() ? target : join(target, 'file'), 'utf8')).toBe('precious\n');
    },
  );
});

describe('F27: the workspace lock of a process that does not exist any more', () => {
  const scene = shareStage('sync-lock-owner');
  const MINUTE_S = 60;

  /** Makes the folder as a crash leaves it, with the file beside it that names its owner. */
  async function plant(stage: Stage, owner: (folder: string) => string | null, ageS: number): Promise<void> {
    const lock = lockOf(stage);
    await rm(lock, { recursive: true, force: true });
    await mkdir(lock);
    const { dev, ino, birthtimeNs } = await lstat(lock, { bigint: true });
    const text = owner(`${dev}:${ino}:${birthtimeNs}`);
    await rm(`${lock}.owner`, { recursive: true, force: true });
    if (text === null) await mkdir(`${lock}.owner`);
    else await writeFile(`${lock}.owner`, text);
    const at = Date.now() / 1_000 - ageS;
    await utimes(lock, at, at);
  }

  const OWNERS: Record<string, { owner(folder: string): string | null; ageS: number }> = {
    // The owner is known to be dead, so the lock is taken over at once, however fresh the folder is.
    'a dead process id': {
      owner: (folder) => JSON.stringify({ pid: 4_194_303, startTicks: '1', space: processSpace(), folder }),
      ageS: 0,
    },
    'a process id that was given to another process': {
      owner: (folder) => JSON.stringify({ pid: process.pid, startTicks: '1', space: processSpace(), folder }),
      ageS: 0,
    },
    // The owner is not known, so the lock counts as abandoned because of its age.
    'nobody (empty)': { owner: () => '', ageS: MINUTE_S },
    'nobody (garbage)': { owner: () => '\0\xff{"pid":', ageS: MINUTE_S },
    'another folder': {
      owner: () => JSON.stringify({ pid: process.pid, startTicks: '1', folder: '1:2:3' }),
      ageS: MINUTE_S,
    },
  };

  it.each(Object.entries(OWNERS))('that names %s is taken over at once', async (_what, { owner, ageS }) => {
    const { stage, runner } = scene();
    await plant(stage, owner, ageS);
    const { runId } = await pushProbe(stage, runner);
    await runner.waitForRun(runId, 'succeeded');
    expect(await readPage(runner, `/runs/${runId}`)).not.toContain('Waiting for the workspace');
  });
});

describe('F24: a run that only waits for the lock', () => {
  it('delays nothing when the server is stopped, and continues after the next start', async () => {
    const stage = await setTestStage('waiting-run');
    const first = await stage.start({ environment: { DRAIN_TIMEOUT: '3600' } });
    await mkdir(lockOf(stage), { recursive: true });
    const pushed = await pushProbe(stage, first);
    await waitingNotice(stage, first, pushed);
    // The server may drain for an hour, and this test kills it after two minutes.
    expect(await first.stop()).toBe(0);
    await rmdir(lockOf(stage));
    const second = await stage.start();
    // No server crashed, so this still counts as the first attempt.
    expect(await second.waitForRun(pushed.runId, 'succeeded')).toMatchObject({ attempt: 1 });
    expect(await startsAt(stage, pushed.commit)).toBe(1);
    expect(await second.stop()).toBe(0);
  });
});

describe('F26: after kill -9 in the middle of a run', () => {
  it('the dead lock is taken over at once, and the old task never overlaps with the new one', async () => {
    const stage = await setTestStage('dead-lock');
    const first = await stage.start();
    await writeGatedService(stage.repository, 'platform/01.gated', 'go');
    const { runId, commit } = await pushRun(stage, first);
    await stage.journal.waitForStart('platform/gated');
    await first.kill();
    expect((await lstat(lockOf(stage))).isDirectory()).toBe(true);
    const second = await stage.start();
    await stage.journal.waitForStart('platform/gated', 2);
    expect(await readPage(second, `/runs/${runId}`)).not.toContain('Waiting for the workspace');
    await openGate(stage, 'go');
    expect(await second.waitForRun(runId, 'succeeded')).toMatchObject({ revision: commit, attempt: 2 });
    expect((await stage.journal.read()).overlaps).toEqual([]);
    expect(await second.stop()).toBe(0);
  });

  it('a neighbour that meanwhile took over the dead lock keeps it', async () => {
    const stage = await setTestStage('inherited-lock');
    const first = await stage.start();
    await writeGatedService(stage.repository, 'platform/01.gated', 'go');
    const { runId } = await pushRun(stage, first);
    await stage.journal.waitForStart('platform/gated');
    await first.kill();
    // Any neighbour takes the lock over when the folder has not been touched for long enough.
    await rmdir(lockOf(stage));
    await mkdir(lockOf(stage));
    const second = await stage.start();
    for await (const { event, data } of readStream({ url: second.url, runId })) {
      if (event === 'notice' && String(data.message).startsWith('Waiting for the workspace')) break;
    }
    expect((await stage.journal.read()).syncs).toHaveLength(1);
    await rm(lockOf(stage), { recursive: true });
    await openGate(stage, 'go');
    await second.waitForRun(runId, 'succeeded');
    expect((await stage.journal.read()).overlaps).toEqual([]);
    expect(await second.stop()).toBe(0);
  });
});

describe('The number of git processes of a run', () => {
  it('is the same for 2 and for 200 changed services', async () => {
    const stage = await setTestStage('git-processes');
    const programs = join(stage.folder, 'programs');
    const calls = join(stage.folder, 'git-calls');
    const { stdout: realGit } = await execa('which', ['git']);
    await mkdir(programs);
    await writeFile(
      join(programs, 'git'),
      `#!/bin/sh\nprintf '%s\\n' "$*" >> '${calls}'\nexec '${realGit}' "$@"\n`,
      { mode: 0o755 },
    );
    const runner = await stage.start({
      environment: { PATH: `${programs}:${process.env.PATH}`, INVOKE_COMMAND: 'true', LOG_LEVEL: 'info' },
    });

    async function gitCalls(ids: string[]): Promise<string[]> {
      for (const id of ids)
        await stage.repository.write(`platform/07.${id}/deploy.py`, `# ${id} ${Date.now()}\n`);
      await writeFile(calls, '');
      const { runId } = await pushRun(stage, runner);
      const run = await runner.waitForRun(runId, 'succeeded');
      expect(run.message).toBe(`${ids.length} service(s) synced successfully`);
      const lines = (await readFile(calls, 'utf8')).trimEnd().split('\n');
      // /ready asks for the version, which belongs to no run. The subcommand follows git's own options.
      return lines
        .filter((line) => !line.includes('--version'))
        .map((line) => line.split(' ').find((word) => !word.startsWith('-')) ?? line);
    }

    const many = Array.from({ length: 200 }, (_, index) => `s${index}`);
    await gitCalls(['s0', 's1']);
    const forMany = await gitCalls(many);
    const forTwo = await gitCalls(['s0', 's1']);
    expect(forTwo.length).toBeGreaterThan(3);
    // Facts that were read a moment ago are cached, which saves a few processes. No process is started per service.
    expect(Math.abs(forMany.length - forTwo.length)).toBeLessThanOrEqual(6);
    expect(await runner.stop()).toBe(0);
  });
});
