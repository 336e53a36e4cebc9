/** Measures the cost of a deployment beyond its commands, and how soon a warm repository is planned. */

import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { git } from '../e2e/support/git.ts';
import { createPlatformRepository } from '../e2e/support/platform-repository.ts';
import type { Runner } from '../e2e/support/runner.ts';
import { API_TOKENS } from '../e2e/support/runner-environment.ts';
import { until } from '../e2e/support/until.ts';
import type { Bench } from './bench.ts';
import { startBuilt, withFolder } from './support/built-runner.ts';
import { median, seconds, spread, times } from './support/statistics.ts';

const ROUNDS = 5;
/** This is the number in a repository that is some years old. */
const COMMITS = 3_000;
const run = promisify(execFile);

const MODULE = `resource "terraform_data" "wait" {
  input = timestamp()
  provisioner "local-exec" {
    command = "sleep 2"
  }
}
`;

export const deployment: Bench = {
  name: 'Deployments',
  method: `The first row measures a deployment with \`auto_approve\`, whose apply takes two seconds, from its request to its end. Its peer runs the bare commands in the same repository: \`git clone\`, \`terraform init\`, \`plan\`, \`apply\`, \`output\`. The second row measures the time until \`plan\` begins, in a repository with ${COMMITS.toLocaleString('en')} commits of 6 KB each whose mirror lacks only one commit. Its peer is a repository that was never cloned. There are ${ROUNDS} of each, in turn.`,
  run: () =>
    withFolder('deployment', async (folder) => {
      const platform = await createPlatformRepository(folder);
      const bare = join(folder, 'infra.git');
      const work = await createHistory(folder, bare);
      const marks = join(folder, 'marks');
      await mkdir(marks);
      const tools = await createMarkingTool(folder, marks);
      const runner = await startBuilt({
        folder,
        repositoryPath: platform.path,
        invoke: ['invoke'],
        environment: {
          DEPLOY_DIR: join(folder, 'deployments'),
          GIT_ALLOWED_PROTOCOLS: 'file',
          TOOLS_DIR: tools,
        },
      });
      const ours: number[] = [];
      const bound: number[] = [];
      const warm: number[] = [];
      const cold: number[] = [];
      for (let round = 0; round <= ROUNDS; round += 1) {
        const oursMs = await deployMs(runner, `file://${bare}`);
        const boundMs = await byHandMs(folder, bare);
        const copy = join(folder, `copy-${round}.git`);
        await git(folder, ['clone', '--quiet', '--mirror', bare, copy]);
        const coldMs = await untilPlanMs(runner, `file://${copy}`, marks);
        await commitTo(work, bare, `round ${round}`);
        const warmMs = await untilPlanMs(runner, `file://${bare}`, marks);
        if (round === 0) continue;
        ours.push(oursMs);
        bound.push(boundMs);
        cold.push(coldMs);
        warm.push(warmMs);
      }
      await runner.stop();
      const overheads = ours.map((value, index) => value - (bound[index] ?? 0));
      const shares = warm.map((value, index) => value / (cold[index] ?? 0));
      const overhead = median(overheads);
      return [
        {
          measured: 'Request → applied',
          ours: spread(ours, seconds),
          bound: `bare commands: ${spread(bound, seconds)}`,
          ratio: spread(overheads, (ms) => `${ms < 0 ? '−' : '+'}${seconds(Math.abs(ms))}`),
          aim: '≤ 5 % or 1 s more',
          met: overhead <= 1_000 || overhead <= 0.05 * median(bound),
        },
        {
          measured: 'Request → `plan` begins, warm mirror',
          ours: spread(warm, seconds),
          bound: `never cloned: ${spread(cold, seconds)}`,
          ratio: spread(shares, times),
          aim: '≤ 0.30×',
          met: median(shares) <= 0.3,
        },
      ];
    }),
};

async function createHistory(folder: string, bare: string): Promise<string> {
  const work = join(folder, 'infra');
  await git(folder, ['init', '--quiet', '--bare', '--initial-branch=main', bare]);
  await git(folder, ['init', '--quiet', '--initial-branch=main', work]);
  const commits = Array.from({ length: COMMITS }, (_, index) => {
    const text = randomBytes(3_000).toString('hex');
    const message = `Commit ${index}`;
    const module = index === 0 ? `M 100644 inline main.tf\ndata ${MODULE.length}\n${MODULE}\n` : '';
    return `commit refs/heads/main\ncommitter A <a@example.com> ${1_700_000_000 + index} +0000\ndata ${message.length}\n${message}\n${module}M 100644 inline docs/${index % 200}.txt\ndata ${text.length}\n${text}\n`;
  });
  await git(bare, ['fast-import', '--quiet'], commits.join(''));
  await git(work, ['pull', '--quiet', bare, 'main']);
  return work;
}

async function commitTo(work: string, bare: string, text: string): Promise<void> {
  await writeFile(join(work, 'notes.txt'), text);
  await git(work, ['add', '--all']);
  await git(work, ['commit', '--quiet', '-m', text]);
  await git(work, ['push', '--quiet', bare, 'HEAD:main']);
}

/** A terraform that leaves a file when `plan` begins, named by the run. */
async function createMarkingTool(folder: string, marks: string): Promise<string> {
  const { stdout: real } = await run('which', ['terraform']);
  const directory = join(folder, 'tools/terraform/1.0.0');
  await mkdir(directory, { recursive: true });
  const script = `#!/bin/sh\n[ "$1" = plan ] && date +%s%N > "${marks}/$IAC_RUN_ID"\nexec ${real.trim()} "$@"\n`;
  await writeFile(join(directory, 'terraform'), script, { mode: 0o755 });
  return join(folder, 'tools');
}

async function deployMs(runner: Runner, gitUrl: string): Promise<number> {
  const startedAt = performance.now();
  await waitForEnd(runner, await post(runner, { git_url: gitUrl, auto_approve: true }));
  return performance.now() - startedAt;
}

/** The rest of the deployment is of no interest. */
async function untilPlanMs(runner: Runner, gitUrl: string, marks: string): Promise<number> {
  const sentNs = BigInt(Date.now()) * 1_000_000n;
  const id = await post(runner, { git_url: gitUrl, tool_version: '1.0.0' });
  await runner.waitForRun(id, 'awaiting_approval');
  const { stdout } = await run('cat', [join(marks, id)]);
  await call(runner, 'POST', `/deploy/${id}/cancel`);
  return Number(BigInt(stdout.trim()) - sentNs) / 1e6;
}

async function post(runner: Runner, fields: object): Promise<string> {
  const body = { tool: 'terraform', git_ref: 'main', ...fields };
  const answer = await call(runner, 'POST', '/deploy', body);
  return String(answer.deployment_id);
}

async function waitForEnd(runner: Runner, id: string): Promise<void> {
  await until(
    'the end of the deployment',
    async () => {
      const { status, error } = await call(runner, 'GET', `/deploy/${id}/status`);
      if (status === 'failed') throw new Error(String(error));
      return status === 'success' ? true : null;
    },
    { timeoutMs: 60_000 },
  );
}

async function call(runner: Runner, method: string, path: string, body?: object) {
  const response = await fetch(runner.url + path, {
    method,
    headers: { authorization: `Bearer ${API_TOKENS.admin}`, 'content-type': 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as Record<string, unknown>;
}

async function byHandMs(folder: string, bare: string): Promise<number> {
  const checkout = join(folder, 'by-hand');
  const terraform = (...args: string[]) =>
    run('terraform', args, {
      cwd: checkout,
      env: { PATH: process.env.PATH ?? '', HOME: folder, CHECKPOINT_DISABLE: '1' },
    });
  const startedAt = performance.now();
  await git(folder, ['clone', '--quiet', `file://${bare}`, checkout]);
  await terraform('init', '-input=false');
  await terraform('plan', '-input=false', '-out=tfplan');
  await terraform('apply', '-input=false', 'tfplan');
  await terraform('output', '-json');
  const took = performance.now() - startedAt;
  await rm(checkout, { recursive: true });
  return took;
}
