/** The commands that read what a server knows, and act on runs, against a real server. */

import { expect, it } from 'vitest';
import { reachableAddress } from './support/free-port.ts';
import { waitAtGate, writeShellService } from './support/hand-made-service.ts';
import { pushRun } from './support/pushed-run.ts';
import { runProgram } from './support/runner.ts';
import { API_TOKENS } from './support/runner-environment.ts';
import { openGate, shareStage } from './support/shared-stage.ts';
import { setTestStage } from './support/test-stage.ts';
import { until } from './support/until.ts';

const scene = shareStage('command-line');

async function command(
  args: string[],
  role: keyof typeof API_TOKENS | null = 'operator',
  more: Record<string, string> = {},
) {
  const { stage, runner } = scene();
  return runProgram([...args, '--url', runner.url], {
    ...stage.runnerOptions,
    environment: {
      WEBHOOK_SECRET: undefined,
      IAC_RUNNER_TOKEN: role === null ? undefined : API_TOKENS[role],
      ...more,
    },
  });
}

it('Commands say what is live, why a service is not, and what ran; and act on runs', async () => {
  const { stage, runner } = scene();
  await writeShellService(stage.repository, 'platform/07.shop', 'echo first\necho broken >&2\nexit 3');
  const { runId, commit } = await pushRun(stage, runner, 'Open the shop');
  await runner.waitForRun(runId, 'failed');

  const status = await command(['status']);
  expect(status).toMatchObject({ exitCode: 0, stderr: '' });
  expect(status.stdout).toContain(`12 of 13 at main (${commit.slice(0, 8)})`);
  expect(status.stdout).toMatch(/failed +platform\/shop +never +Exit code 3/);
  expect(status.stdout).not.toContain('platform/redis');
  expect(status.stdout).not.toContain('\u001b');
  const coloured = await command(['status'], 'operator', { FORCE_COLOR: '1' });
  expect(coloured.stdout).toContain('\u001b[31mfailed\u001b[39m');
  const plain = await command(['status'], 'operator', { NO_COLOR: '1' });
  expect(plain.stdout).not.toContain('\u001b');
  expect((await command(['status', '--environment', 'default'])).stdout).toContain('platform/redis');
  const json = JSON.parse((await command(['status', '--json'])).stdout);
  expect(json).toMatchObject({ environments: [{ name: 'default', head: commit }] });

  const why = await command(['why', 'platform/shop']);
  expect(why.stdout).toContain('platform/shop in default: failed');
  expect(why.stdout).toMatch(new RegExp(`failed +${commit.slice(0, 8)} +Open the shop .*${runId}`));
  const mistyped = await command(['why', 'platform/shpo']);
  expect(mistyped).toMatchObject({ exitCode: 2, stdout: '' });
  expect(mistyped.stderr).toContain('Did you mean platform/shop?');
  const unknown = await command(['status', '--environment', 'defualt']);
  expect(unknown.stderr).toContain('Did you mean default?');

  const runs = await command(['runs', '--state', 'failed']);
  expect(runs.stdout).toMatch(new RegExp(`^failed +${runId} +${commit.slice(0, 8)} +Open the shop`));
  const log = await command(['logs', runId]);
  expect(log).toMatchObject({ exitCode: 0, stderr: '' });
  expect(log.stdout).toContain('first');
  expect((await command(['logs', runId, 'platform/shop'])).stdout).toBe('first\nbroken');
  const followed = await command(['logs', runId, 'platform/shop', '--follow']);
  expect(followed).toMatchObject({ exitCode: 1, stdout: 'first\nbroken' });
  const line = { event: 'log', step: 'platform/shop', number: 2, text: 'broken' };
  const lines = await command(['logs', runId, 'platform/shop', '--json']);
  expect(JSON.parse(lines.stdout.split('\n')[1] ?? '')).toEqual({ ...line, at: expect.any(String) });
  const followedLines = await command(['logs', runId, 'platform/shop', '--json', '--follow']);
  expect(JSON.parse(followedLines.stdout.split('\n')[1] ?? '')).toEqual(line);
  const wrongStep = await command(['logs', runId, 'platform/shpo']);
  expect(wrongStep).toMatchObject({ exitCode: 2, stdout: '' });
  expect(wrongStep.stderr).toContain('There is no step "platform/shpo". Did you mean platform/shop?');

  const retried = await command(['retry', runId, '--json']);
  expect(retried.exitCode).toBe(0);
  const { run_id: retryId } = JSON.parse(retried.stdout);
  await runner.waitForRun(retryId, 'failed');
  expect((await command(['retry', runId.slice(0, 4)], 'viewer')).exitCode).not.toBe(0);
  const refused = await command(['approve', runId], 'admin');
  expect(refused.exitCode).toBe(4);
  expect(refused.stderr).toMatch(/answered 409/);
});

it('A run is cancelled by a part of its id that only it has', async () => {
  const { stage, runner } = scene();
  await writeShellService(stage.repository, 'platform/07.shop', waitAtGate('never'));
  const { runId } = await pushRun(stage, runner, 'Wait for ever');
  await runner.waitForRun(runId, 'running');
  const cancelled = await command(['cancel', runId.slice(-12)]);
  expect(cancelled).toMatchObject({ exitCode: 0, stderr: '' });
  await runner.waitForRun(runId, 'cancelled');
  await openGate(stage, 'never');
});

it('A log that is followed goes on where it was when the server is killed and started again', async () => {
  const stage = await setTestStage('followed-log');
  const environment = await reachableAddress();
  const first = await stage.start({ environment });
  const script = `seq -f 'before %.0f' 3000; ${waitAtGate('resume')}; seq -f 'after %.0f' 3000`;
  await writeShellService(stage.repository, 'platform/01.resumed', script);
  const { runId } = await pushRun(stage, first, 'Go on');
  let isFollowing = false;
  const following = runProgram(
    ['logs', runId, 'platform/resumed', '--follow', '--url', first.url],
    { ...stage.runnerOptions, environment: { IAC_RUNNER_TOKEN: API_TOKENS.viewer } },
    undefined,
    () => {
      isFollowing = true;
    },
  );
  const log = `/runs/${runId}/log?step=platform%2Fresumed&from=3000`;
  await until('the line before 3000', async () =>
    JSON.stringify((await first.getJson(log)).body).includes('before 3000') ? true : null,
  );
  // The test holds whatever it has printed by then.
  await until('the first line', async () => isFollowing || null);
  await first.kill();
  const second = await stage.start({ environment });
  await openGate(stage, 'resume');
  const { exitCode, stdout } = await following;
  const numbered = (word: string) => Array.from({ length: 3_000 }, (_, index) => `${word} ${index + 1}`);
  // The second attempt prints everything again from its start.
  expect(stdout.split('\n')).toEqual([...numbered('before'), ...numbered('before'), ...numbered('after')]);
  expect(exitCode).toBe(0);
  expect(await second.waitForRun(runId, 'succeeded')).toMatchObject({ attempt: 2 });
});

it('A reader that is slower than the command gets everything', async () => {
  const { stage, runner } = scene();
  const lines = 20_000;
  await writeShellService(stage.repository, 'platform/09.long', `seq -f 'line %.0f' ${lines}`);
  const { runId } = await pushRun(stage, runner, 'Talk a lot');
  await runner.waitForRun(runId, 'succeeded');
  const pause = new Int32Array(new SharedArrayBuffer(4));
  const read = await runProgram(
    ['logs', runId, 'platform/long', '--follow', '--url', runner.url],
    { ...stage.runnerOptions, environment: { IAC_RUNNER_TOKEN: API_TOKENS.viewer } },
    undefined,
    // Nothing else is read meanwhile.
    () => void Atomics.wait(pause, 0, 0, 300),
  );
  const shown = read.stdout.split('\n');
  expect([read.exitCode, shown.length, shown.at(-1)]).toEqual([0, lines, `line ${lines}`]);
});

it('A sync, a rollback to the beginning of a commit, and its end stand under the name of the token', async () => {
  const { stage, runner } = scene();
  await writeShellService(stage.repository, 'platform/08.stall', 'echo one');
  const { runId, commit } = await pushRun(stage, runner, 'Open a stall');
  await runner.waitForRun(runId, 'succeeded');
  const short = commit.slice(0, 8);
  const back = await command(['rollback', 'platform/stall', '--to', short, '--reason', 'It leaks', '--json']);
  expect(back).toMatchObject({ exitCode: 0, stderr: '' });
  const { run_id: backId, services } = JSON.parse(back.stdout);
  expect(services).toEqual(['platform/stall']);
  await runner.waitForRun(backId, 'succeeded');
  for (const args of [
    ['unpin', 'platform/stall', '--json'],
    ['sync', 'platform/stall', '--force', '--json'],
  ]) {
    const done = await command(args);
    expect(done).toMatchObject({ exitCode: 0, stderr: '' });
    const { run_id: id } = JSON.parse(done.stdout);
    await runner.waitForRun(id, 'succeeded');
    expect((await runner.getJson(`/runs/${id}`)).body).toMatchObject({ trigger: { actor: 'operator' } });
  }
  expect((await runner.getJson(`/runs/${backId}`)).body).toMatchObject({
    trigger: { actor: 'operator' },
    revision: commit,
  });
  const followed = await command(['sync', 'platform/stall', '--force', '--follow']);
  expect(followed).toMatchObject({ exitCode: 0, stderr: '' });
  expect(followed.stdout).toContain('platform/stall | one');
});

it('A refusal says which service or environment was probably meant', async () => {
  for (const args of [
    ['hold', 'platform/rdis', '--reason', 'x'],
    ['rollback', 'platform/rdis', '--to', 'a'.repeat(40)],
    ['sync', 'platform/rdis'],
    ['unpin', 'platform/rdis'],
  ]) {
    const { exitCode, stderr } = await command(args);
    expect({ args, exitCode }).toEqual({ args, exitCode: 4 });
    expect(stderr).toMatch(/Unknown service "platform\/rdis".* Did you mean platform\/redis\?$/);
  }
  const { exitCode, stderr } = await command(['promote', 'defalt']);
  expect({ exitCode }).toEqual({ exitCode: 4 });
  expect(stderr).toMatch(/Did you mean default\?$/);
  // A signed request takes whole commit ids only.
  const signed = await runProgram(
    ['rollback', 'platform/redis', '--to', 'abcdef12'],
    scene().stage.runnerOptions,
  );
  expect(signed).toMatchObject({ exitCode: 2, stdout: '' });
});

it('Without a token nothing is asked, and a mistyped command is corrected', async () => {
  expect(await command(['status'], null)).toMatchObject({ exitCode: 3, stdout: '' });
  const { stage } = scene();
  const mistyped = await runProgram(['stauts'], stage.runnerOptions);
  expect(mistyped).toMatchObject({ exitCode: 2 });
  expect(mistyped.stderr).toContain('Did you mean status?');
});
