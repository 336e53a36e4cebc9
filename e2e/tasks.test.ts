/** Tasks are other people's programs: whatever they do, the run ends, says how, and leaves nothing behind. */

import { access } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { followLog, logMessage, readStream } from './support/event-stream.ts';
import { waitAtGate, writePythonService, writeShellService } from './support/hand-made-service.ts';
import { processesMentioning } from './support/processes.ts';
import { pushRun, readLog, readPage } from './support/pushed-run.ts';
import { API_TOKENS, WEBHOOK_SECRET } from './support/runner-environment.ts';
import { memoryOf } from './support/server-memory.ts';
import { openGate, shareStage } from './support/shared-stage.ts';
import type { Stage } from './support/stage.ts';
import { setTestStage } from './support/test-stage.ts';

/** A task prints this line when all its processes have started. */
const ALL_STARTED = 'all up';

/** Processes of the stage whose arguments contain `words`, in any session. */
async function commandsOf(stage: Stage, words: string): Promise<string[]> {
  const found = await processesMentioning(stage.folder);
  return found.map(({ command }) => command).filter((command) => command.includes(words));
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

describe('A task that does not end', () => {
  it('F28: is ended with all its processes although it ignores SIGTERM, releases the lock, and the next run works', async () => {
    const stage = await setTestStage('stubborn');
    const runner = await stage.start({ environment: { SYNC_TIMEOUT: '15' } });
    const stubborn = `
      trap '' TERM HUP INT
      sh -c 'trap "" TERM; while :; do sleep 9111; done' &
      (trap '' TERM; sh -c 'trap "" TERM; while :; do sleep 9112; done') &
      echo ${ALL_STARTED}
      while :; do sleep 9113; done`;
    await writeShellService(stage.repository, 'platform/01.stubborn', stubborn);
    const { runId, commit } = await pushRun(stage, runner, 'Add a stubborn task');
    const run = await runner.waitForRun(runId, 'timed_out');
    expect(run).toMatchObject({ reason: 'step_timed_out', message: '1/1 service(s) failed to sync' });
    expect(run.steps).toMatchObject([{ state: 'timed_out', message: 'Timed out after 15 s' }]);
    expect(await readLog(runner, runId)).toContain(ALL_STARTED);
    expect(await commandsOf(stage, 'sleep 911')).toEqual([]);
    expect(await exists(join(stage.folder, 'workspace/.sync.lock'))).toBe(false);
    await stage.github.statuses.waitFor({ sha: commit, state: 'failure' });

    await writeShellService(stage.repository, 'platform/01.stubborn', 'echo obedient');
    const next = await pushRun(stage, runner, 'Teach it');
    await runner.waitForRun(next.runId, 'succeeded');
    expect(await readLog(runner, next.runId, 'platform/stubborn')).toBe('obedient\n');
  });
});

describe('A task', () => {
  const scene = shareStage('tasks', () => ({
    VAULT_ADDR: 'https://vault.example.com',
    VAULT_APP_TOKEN: 'hvs.e2e-vault-token',
    TASK_ENV: 'VAULT_ADDR,VAULT_APP_TOKEN,ENV,PROJECT,IAC_EXAMPLE_STATE',
    // None of these variables is named in TASK_ENV or is needed by every program.
    REDIS_URL: 'redis://:e2e-redis-password@localhost',
    NODE_OPTIONS: '--no-deprecation',
    GIT_DIR: '/nonexistent',
    PYTHONSTARTUP: '/nonexistent',
  }));

  it('F29: whose grandchild keeps stdout open ends its run when it ends itself, and the grandchild is ended', async () => {
    const { stage, runner } = scene();
    await writeShellService(
      stage.repository,
      'platform/06.leaky',
      `(trap '' HUP; exec sleep 9201) & nohup sleep 9202 & echo last words; exit 0`,
    );
    const { runId } = await pushRun(stage, runner);
    const run = await runner.waitForRun(runId, 'succeeded');
    expect(run.steps).toMatchObject([{ id: 'platform/leaky', state: 'succeeded', exit_code: 0 }]);
    expect(await readLog(runner, runId)).toContain('last words\n');
    expect(await commandsOf(stage, 'sleep 920')).toEqual([]);
  });

  it('F30: that hides processes in sessions of their own, orphaned twice, leaves none of them', async () => {
    const { stage, runner } = scene();
    const hide = `
import subprocess
# A daemon as in the books: forked twice, its own session, all its pipes closed.
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.execvp("sleep", ["sleep", "9301"])
    os._exit(0)
os.wait()
subprocess.Popen(["setsid", "sh", "-c", "trap '' TERM; setsid sleep 9302; sleep 9303"])
subprocess.Popen(["setsid", "nohup", "sleep", "9304"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
def hidden():
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().decode().replace("\\0", " ").strip()
        except OSError:
            continue
        if command.startswith("sleep 930"):
            found.append(command)
    return sorted(found)
deadline = time.monotonic() + 60
while len(hidden()) < 3 and time.monotonic() < deadline:
    time.sleep(0.05)
print("hidden:", ", ".join(hidden()))`;
    await writePythonService(stage.repository, 'platform/06.hidden', hide);
    const { runId } = await pushRun(stage, runner);
    const run = await runner.waitForRun(runId, 'succeeded');
    expect(run.steps).toMatchObject([{ id: 'platform/hidden', state: 'succeeded' }]);
    expect(await readLog(runner, runId)).toContain('hidden: sleep 9301, sleep 9302, sleep 9304\n');
    expect(await commandsOf(stage, 'sleep 930')).toEqual([]);
  });

  it('F32b: that reads its stdin finds its end and does not hang', async () => {
    const { stage, runner } = scene();
    await writeShellService(
      stage.repository,
      'platform/06.asking',
      `if read -r answer; then echo "got $answer"; else echo "nobody answers"; fi; cat; echo done`,
    );
    const { runId } = await pushRun(stage, runner);
    await runner.waitForRun(runId, 'succeeded');
    expect(await readLog(runner, runId, 'platform/asking')).toBe('nobody answers\ndone\n');
  });

  it('F42: gets the variables that TASK_ENV names, those that every program needs and its own, and no others', async () => {
    const { stage, runner } = scene();
    const print = `
for name in sorted(os.environ):
    print(name + "=" + os.environ[name])`;
    await writePythonService(stage.repository, 'platform/06.environment', print);
    const { runId, commit } = await pushRun(stage, runner);
    await runner.waitForRun(runId, 'succeeded');
    const lines = (await readLog(runner, runId, 'platform/environment')).trimEnd().split('\n');
    const environment = Object.fromEntries(
      lines.map((line) => [line.split('=')[0], line.replace(/^[^=]*=/, '')]),
    );
    // Python itself adds this variable.
    delete environment.LC_CTYPE;
    const checkout = join(stage.folder, 'workspace/platform');
    expect(environment).toEqual({
      PATH: process.env.PATH,
      HOME: join(stage.folder, 'home'),
      LANG: 'C.UTF-8',
      TMPDIR: join(stage.folder, 'tmp'),
      VAULT_ADDR: 'https://vault.example.com',
      VAULT_APP_TOKEN: '****',
      ENV: 'production',
      PROJECT: 'platform',
      IAC_EXAMPLE_STATE: join(stage.folder, 'state'),
      PYTHONPATH: checkout,
      PYTHONUNBUFFERED: '1',
      IAC_RUN_ID: runId,
      IAC_SERVICE: 'platform/environment',
      IAC_ENVIRONMENT: '',
      IAC_COMMIT: commit,
      IAC_CONFIG_HASH: expect.stringMatching(/^[0-9a-f]{12}$/),
      IAC_RESULT_FILE: expect.stringMatching(/^\//),
      IAC_PROCESS_ID: expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
  });

  it("F42: that reads the server's environment, as the same user can, prints no secret of it into the log", async () => {
    const { stage, runner } = scene();
    await writeShellService(
      stage.repository,
      'platform/06.curious',
      `tr '\\0' '\\n' < "/proc/$PPID/environ"; echo; tr '\\0' ' ' < "/proc/$PPID/environ" | base64`,
    );
    const { runId } = await pushRun(stage, runner);
    await runner.waitForRun(runId, 'succeeded');
    const log = await readLog(runner, runId, 'platform/curious');
    // The documentation states this limit: a task can read the environment. The runner masks its secrets.
    expect(log).toContain('WEBHOOK_SECRET=****\n');
    expect(log).toContain('GITHUB_TOKEN=****\n');
    expect(log).toContain('API_TOKENS=viewer:viewer:****,operator:operator:****,admin:admin:****\n');
    const unwrapped = Buffer.from(log.replaceAll('\n', ''), 'base64').toString('latin1');
    expect(unwrapped).not.toContain(WEBHOOK_SECRET);
    expect(log).not.toContain(stage.github.token);
  });

  it('has its output on the event stream while it still runs', async () => {
    const { stage, runner } = scene();
    await writeShellService(
      stage.repository,
      'platform/06.slow',
      `echo before; printf 'no newline yet'; ${waitAtGate('live')}; echo; echo after`,
    );
    const { runId } = await pushRun(stage, runner);
    const seen: string[] = [];
    let whileRunning: string | undefined;
    for await (const message of readStream({ url: runner.url, runId })) {
      const line = logMessage(message);
      if (!line) continue;
      seen.push(line.text);
      if (line.text !== 'before') continue;
      whileRunning = (await runner.waitForRun(runId, 'running')).state;
      await openGate(stage, 'live');
    }
    expect(whileRunning).toBe('running');
    expect(seen).toEqual(['before', 'no newline yet', 'after']);
    await runner.waitForRun(runId, 'succeeded');
  });

  it('keeps the order of its lines on each stream, and loses none', async () => {
    const { stage, runner } = scene();
    const talk = `
for number in range(5000):
    print("out", number)
    print("err", number, file=sys.stderr)`;
    await writePythonService(stage.repository, 'platform/06.talkative', talk);
    const { runId } = await pushRun(stage, runner);
    const lines = { stdout: [] as string[], stderr: [] as string[] };
    const ids: number[] = [];
    for await (const { id, stream, text } of followLog({ url: runner.url, runId })) {
      lines[stream].push(text);
      ids.push(id);
    }
    const numbered = (word: string): string[] => Array.from({ length: 5_000 }, (_, n) => `${word} ${n}`);
    expect(lines.stdout).toEqual(numbered('out'));
    expect(lines.stderr).toEqual(numbered('err'));
    expect(ids).toEqual([...new Set(ids)].sort((a, b) => a - b));
    const stored = (await readLog(runner, runId, 'platform/talkative')).trimEnd().split('\n');
    expect(stored).toHaveLength(10_000);
  });
});

describe('A task that floods', () => {
  it('F32: ends with its exit code and a log that is cut in the middle with a mark, while the server stays small, a stalled reader does no harm, and its page opens', async () => {
    const stage = await setTestStage('flood');
    const runner = await stage.start({ environment: { LOG_LEVEL: 'info' } });
    const before = await memoryOf(runner.pid);
    await writeShellService(
      stage.repository,
      'platform/01.flood',
      `yes 'the quick brown fox jumps over the lazy dog' | head -c 200000000; echo on stderr >&2; exit 7`,
    );
    const odd = `
out = sys.stdout.buffer
out.write(b"x" * 50_000_000 + b"\\n")
out.write(b"invalid \\xff\\xfe\\xc3( utf-8\\n")
out.write(b"a nul \\0 here\\n")
out.write(b"progress 1%\\rprogress 2%\\rprogress 3%\\n")
out.write("ünïcödé ✓\\n".encode())
out.write(b"no newline at the end")
out.flush()`;
    await writePythonService(stage.repository, 'platform/01.odd', odd);
    const { runId, commit } = await pushRun(stage, runner, 'Flood');
    const stalled = await openStalledStream(`${runner.url}/runs/${runId}/events`);
    const run = await runner.waitForRun(runId, 'failed');
    expect(run.message).toBe('1/2 service(s) failed to sync');
    expect(run.steps).toMatchObject([
      { id: 'platform/flood', state: 'failed', exit_code: 7, message: 'Exit code 7' },
      { id: 'platform/odd', state: 'succeeded', exit_code: 0 },
    ]);

    const flood = await readLog(runner, runId, 'platform/flood');
    expect(flood.length).toBeLessThan(70 * 1024 * 1024);
    expect(flood).toMatch(/dog\n\[\d+ lines of output left out here, \d+ bytes\]\nthe quick/);
    expect(flood.slice(-2_000)).toContain('on stderr\n');
    expect(flood.slice(-2_000)).toContain('the lazy dog\n');
    const oddLines = (await readLog(runner, runId, 'platform/odd')).split('\n');
    expect(oddLines[0]?.slice(-100)).toMatch(/^x+ \[line cut after 16384 bytes\]$/);
    expect(oddLines.slice(1)).toEqual([
      'invalid \ufffd\ufffd\ufffd( utf-8',
      'a nul \ufffd here',
      'progress 1%',
      'progress 2%',
      'progress 3%',
      'ünïcödé ✓',
      'no newline at the end',
      '',
    ]);

    const page = await readPage(runner, `/runs/${runId}`, 20_000);
    expect(page).toContain('the quick brown fox');
    expect(page.length).toBeLessThan(8 * 1024 * 1024);
    await stage.github.statuses.waitFor({ sha: commit, state: 'failure' });

    const after = await memoryOf(runner.pid);
    // A quarter of a gigabyte passed through the server, and the log was read twice.
    expect(after.peakMib - before.nowMib).toBeLessThan(350);
    expect(stalled.destroyed).toBe(false);
    expect(await runner.stop()).toBe(0);
  });
});

/** The event stream of a client that is connected and never reads. */
async function openStalledStream(url: string): Promise<IncomingMessage> {
  const headers = { authorization: `Bearer ${API_TOKENS.viewer}` };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(url, { headers }, resolve).on('error', reject);
  });
  expect(response.statusCode).toBe(200);
  onTestFinished(() => void response.destroy());
  return response.on('error', () => undefined).pause();
}
