import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { PlanCheck } from '../../config.ts';
import { createLocalExecutor } from '../../executor/local.ts';
import type { RunEventBody } from '../../runs/run-events.ts';
import { StepFailed } from '../step.ts';
import { runChecks } from './checks.ts';
import { temporaryFolder, writeTree } from './terraform.fixture.ts';

function check(name: string, script: string, required = false): PlanCheck {
  return { name, argv: ['sh', '-c', script, 'sh', '{plan}'], required };
}

async function run(checks: PlanCheck[], signal = new AbortController().signal) {
  const folder = temporaryFolder();
  const jsonFile = path.join(folder, 'tfplan.json');
  writeTree(folder, { 'tfplan.json': '{"resource_changes":[]}', 'checkout/main.tf': '' });
  const events: RunEventBody[] = [];
  const executor = createLocalExecutor();
  const result = await runChecks(
    {
      executor,
      initExecutor: executor,
      interruptGraceMs: 0,
      program: 'terraform',
      cwd: path.join(folder, 'checkout'),
      env: {
        PATH: '/usr/bin:/bin',
        HOME: folder,
        TMPDIR: '/tmp',
        IAC_RUN_ID: 'run-1',
        AWS_SECRET: 's',
        TF_VAR_a: 'b',
      },
      secrets: ['hunter2-hunter2'],
      given: ['value-of-the-request'],
      timeoutMs: 5_000,
    },
    { signal, draining: new AbortController().signal, emit: async (...more) => void events.push(...more) },
    { checks, jsonFile },
  ).catch((error: unknown) => error);
  const ends = events.flatMap((event) =>
    event.type === 'step.finished' ? [[event.step, event.state, event.message]] : [],
  );
  const lines = events.flatMap((event) => (event.type === 'step.log' ? event.lines : []));
  const said = events.flatMap((event) =>
    event.type === 'run.checked' ? [[event.step, event.passed, event.message, event.lines]] : [],
  );
  return { result, ends, lines, said, folder };
}

describe('Checks of a plan', () => {
  it('get the plan, and an environment without the variables of the request', async () => {
    const { result, lines, folder } = await run([
      check('env', 'cat "$1"; cat $IAC_PLAN_FILE; echo; pwd; env'),
    ]);
    const file = path.join(folder, 'tfplan.json');
    expect(result).toEqual([{ name: 'env', required: false, verdict: 'passed', message: 'Passed' }]);
    expect(lines[0]).toBe('{"resource_changes":[]}{"resource_changes":[]}');
    expect(lines[1]).toBe(folder);
    expect(lines).toContain(`IAC_PLAN_FILE=${file}`);
    expect(lines).toContain('IAC_RUN_ID=run-1');
    expect(lines.join('\n')).not.toMatch(/AWS|TF_VAR/);
  });

  it('all run, and the required ones decide', async () => {
    const checks = [
      check('a', 'echo hunter2-hunter2; echo value-of-the-request; exit 3', true),
      check('b', 'exit 1'),
      check('c', 'true', true),
    ];
    const { result, ends, lines, said } = await run(checks);
    expect(ends).toEqual([
      ['check-a', 'failed', 'Failed with exit code 3'],
      ['check-b', 'failed', 'Failed with exit code 1 (not required)'],
      ['check-c', 'succeeded', 'Passed'],
    ]);
    expect(result).toBeInstanceOf(StepFailed);
    expect(result).toMatchObject({
      outcome: { state: 'failed', reason: 'check_failed', message: 'Required check not passed: a' },
    });
    expect(lines).toEqual(['****', '****']);
    expect(said).toEqual([
      ['check-a', false, 'Failed with exit code 3', ['****', '****']],
      ['check-b', false, 'Failed with exit code 1', []],
      ['check-c', true, 'Passed', []],
    ]);
  });

  it('that are not required do not stop a run, even if their program is missing', async () => {
    const { result } = await run([{ name: 'a', argv: ['no-such-program', '{plan}'], required: false }]);
    expect(result).toMatchObject([
      { verdict: 'not_started', message: expect.stringContaining('no-such-program') },
    ]);
  });

  it('that are required and cannot be started make the run end as errored', async () => {
    const { result } = await run([{ name: 'a', argv: ['no-such-program'], required: true }]);
    expect(result).toMatchObject({ outcome: { state: 'errored', reason: 'tool_missing' } });
  });

  it('end with the run', async () => {
    const { result, ends } = await run(
      [check('a', 'sleep 600'), check('b', 'true')],
      AbortSignal.timeout(300),
    );
    expect(result).toMatchObject({ name: 'TimeoutError' });
    expect(ends).toEqual([['check-a', 'cancelled', 'Ended before it was done']]);
  });
});
