/** The commands that read what a server knows, and act on runs, against a real server. */

import { expect, it } from 'vitest';
import { waitAtGate, writeShellService } from './support/hand-made-service.ts';
import { pushRun } from './support/pushed-run.ts';
import { runProgram } from './support/runner.ts';
import { API_TOKENS } from './support/runner-environment.ts';
import { openGate, shareStage } from './support/shared-stage.ts';

const scene = shareStage('command-line');

async function command(args: string[], role: keyof typeof API_TOKENS | null = 'operator') {
  const { stage, runner } = scene();
  return runProgram([...args, '--url', runner.url], {
    ...stage.runnerOptions,
    environment: {
      WEBHOOK_SECRET: undefined,
      IAC_RUNNER_TOKEN: role === null ? undefined : API_TOKENS[role],
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

it('Without a token nothing is asked, and a mistyped command is corrected', async () => {
  expect(await command(['status'], null)).toMatchObject({ exitCode: 3, stdout: '' });
  const { stage } = scene();
  const mistyped = await runProgram(['stauts'], stage.runnerOptions);
  expect(mistyped).toMatchObject({ exitCode: 2 });
  expect(mistyped.stderr).toContain('Did you mean status?');
});
