/** A stage for deployments: a repository of root modules over http with a password, and a client of the API. */

import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execaSync } from 'execa';
import { onTestFinished, type TestContext } from 'vitest';
import { z } from 'zod';
import { git } from './git.ts';
import { type GitServer, serveGitOverHttp } from './git-over-http.ts';
import { obtainedInvoke } from './obtained.ts';
import type { Runner } from './runner.ts';
import { API_TOKENS } from './runner-environment.ts';
import { type Stage, setStage } from './stage.ts';
import { PATIENCE_MS, until } from './until.ts';

export const GIT_USER = 'deployer';
export const GIT_PASSWORD = 'git-password-CANARY-91';

type Role = keyof typeof API_TOKENS;

const statusSchema = z.looseObject({
  deployment_id: z.string(),
  status: z.enum(['running', 'awaiting_approval', 'success', 'failed', 'cancelled']),
  phase: z.enum(['initializing', 'cloning', 'init', 'plan', 'apply', 'completed']),
  started_at: z.string(),
  ended_at: z.string().nullish(),
  error: z.string().nullish(),
  init_log: z.string().nullish(),
  plan_log: z.string().nullish(),
  plan_output: z.string().nullish(),
  apply_log: z.string().nullish(),
  apply_output: z.string().nullish(),
});

export type DeploymentStatus = z.infer<typeof statusSchema>;

const ENDED: ReadonlySet<string> = new Set(['success', 'failed', 'cancelled']);

export interface DeploymentStage extends Stage {
  /** The address of the infrastructure repository, without credentials. */
  gitUrl: string;
  gitServer: GitServer;
  /** Commits these files to a branch of the infrastructure repository and returns the commit. */
  commit(files: Record<string, string>, options?: { branch?: string; tag?: string }): Promise<string>;
  /** Installs this shell script as version `version` of terraform. `$REAL` is the real terraform. */
  addTool(version: string, script: string): Promise<void>;
  serve(environment?: Record<string, string | undefined>): Promise<Runner>;
}

/** Returns null if terraform is on the PATH, else the reason why the tests are skipped. */
export function withoutTerraform(): string | null {
  const found = execaSync('terraform', ['version'], { reject: false });
  return found.exitCode === 0 ? null : 'terraform is not installed';
}

/** Creates the stage. Call it in a test or in beforeAll; `close` ends it. */
export async function setDeploymentStage(name: string): Promise<DeploymentStage> {
  const stage = await setStage({ name, invoke: obtainedInvoke() });
  const bare = join(stage.folder, 'infra.git');
  const work = join(stage.folder, 'infra');
  const tools = join(stage.folder, 'tools');
  await git(stage.folder, ['init', '--quiet', '--bare', '--initial-branch=main', bare]);
  await git(stage.folder, ['init', '--quiet', '--initial-branch=main', work]);
  const gitServer = await serveGitOverHttp({
    repositoryPath: bare,
    user: GIT_USER,
    password: GIT_PASSWORD,
    onRequest() {},
  });
  const real = execaSync('which', ['terraform'], { reject: false }).stdout;

  async function addTool(version: string, script: string): Promise<void> {
    const folder = join(tools, 'terraform', version);
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'terraform'), `#!/bin/sh\nREAL=${real}\n${script}\n`);
    await chmod(join(folder, 'terraform'), 0o755);
  }

  return {
    ...stage,
    gitUrl: `http://${gitServer.address}`,
    gitServer,
    addTool,
    async commit(files, { branch = 'main', tag } = {}) {
      await git(work, ['checkout', '--quiet', '-B', branch]);
      for (const [file, text] of Object.entries(files)) {
        await mkdir(join(work, file, '..'), { recursive: true });
        await writeFile(join(work, file), text);
      }
      await git(work, ['add', '--all']);
      await git(work, [
        'commit',
        '--quiet',
        '--allow-empty',
        '-m',
        `Change ${Object.keys(files).join(', ')}`,
      ]);
      if (tag !== undefined) await git(work, ['tag', '-a', tag, '-m', tag]);
      await git(work, ['push', '--quiet', '--force', '--tags', bare, branch]);
      return git(work, ['rev-parse', 'HEAD']);
    },
    async serve(environment = {}) {
      await mkdir(tools, { recursive: true });
      return stage.start({
        environment: {
          DEPLOY_DIR: join(stage.folder, 'deployments'),
          GIT_ALLOWED_PROTOCOLS: 'http,https,ssh',
          GIT_ALLOWED_HOSTS: '127.0.0.1',
          TOOLS_DIR: tools,
          CANCEL_GRACE: '5',
          ...environment,
        },
      });
    },
    async close(options) {
      await stage.close(options);
      await gitServer.close();
    },
  };
}

/** Creates a stage that ends with its test. */
export async function deploymentStageFor(
  _context: TestContext | null,
  name: string,
): Promise<DeploymentStage> {
  const stage = await setDeploymentStage(name);
  onTestFinished(async ({ task }) => stage.close({ keep: task.result?.state === 'fail' }));
  return stage;
}

export interface Answered {
  status: number;
  headers: Headers;
  body: Record<string, unknown>;
}

/** The API as its clients use it. */
export function deploymentClient(runner: () => Runner, gitUrl: string) {
  async function call(
    method: string,
    path: string,
    body?: unknown,
    role: Role | null = 'admin',
  ): Promise<Answered> {
    const response = await fetch(runner().url + path, {
      method,
      headers: {
        accept: 'application/json',
        ...(role === null ? {} : { authorization: `Bearer ${API_TOKENS[role]}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: text === '' ? {} : JSON.parse(text) };
  }

  async function status(id: string): Promise<DeploymentStatus> {
    return statusSchema.parse((await call('GET', `/deploy/${id}/status`, undefined, 'viewer')).body);
  }

  return {
    call,
    status,
    /** Posts a request for `main` of the infrastructure repository with these fields. */
    post(fields: Record<string, unknown> = {}, role: Role | null = 'admin') {
      const usual = {
        tool: 'terraform',
        git_url: gitUrl,
        git_ref: 'main',
        git_auth: { type: 'http', username: GIT_USER, password: GIT_PASSWORD },
      };
      return call('POST', '/deploy', { ...usual, ...fields }, role);
    },
    /** Starts a deployment and returns its id. */
    async start(fields: Record<string, unknown> = {}): Promise<string> {
      const { status: code, body } = await this.post(fields);
      if (code !== 202) throw new Error(`POST /deploy was answered ${code}: ${JSON.stringify(body)}`);
      return String(body.deployment_id);
    },
    approve: (id: string, role: Role = 'admin') => call('POST', `/deploy/${id}/approve`, undefined, role),
    reject: (id: string, role: Role = 'admin') => call('POST', `/deploy/${id}/reject`, undefined, role),
    cancel: (id: string, role: Role = 'operator') => call('POST', `/deploy/${id}/cancel`, undefined, role),
    /** Waits until `reached` returns true, and throws as soon as the deployment has ended before that. */
    async waitFor(
      id: string,
      what: string,
      reached: (status: DeploymentStatus) => boolean,
      timeoutMs = PATIENCE_MS,
    ): Promise<DeploymentStatus> {
      let seen: DeploymentStatus | null = null;
      return until(
        `a deployment that is ${what}`,
        async () => {
          seen = await status(id);
          if (reached(seen)) return seen;
          if (ENDED.has(seen.status))
            throw new Error(`The deployment did not become ${what}: ${JSON.stringify(seen, null, 1)}`);
          return null;
        },
        { timeoutMs, seen: () => seen },
      );
    },
    waitForState(id: string, state: DeploymentStatus['status'], timeoutMs?: number) {
      return this.waitFor(id, state, (seen) => seen.status === state, timeoutMs);
    },
  };
}

/** A root module that uses only the built-in provider. */
export const MODULE = `variable "name" {
  type    = string
  default = "nobody"
}

resource "terraform_data" "greeting" {
  input = "hello \${var.name}"
}

output "greeting" {
  value = terraform_data.greeting.output
}

output "password" {
  value     = "output-secret-CANARY"
  sensitive = true
}
`;
