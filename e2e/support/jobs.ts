/** A stage for jobs: Redis, a repository over http that accepts pushes, producers, and workers on demand. */

import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import type { Redis } from 'ioredis';
import {
  ENCRYPTION_KEY,
  type JobFields,
  type ProducedJob,
  produce,
  sealToken,
} from '../../src/jobs/store/jobs.fixture.ts';
import {
  hasRedisServer,
  type RedisServer,
  startRedisServer,
} from '../../src/jobs/store/redis-server.fixture.ts';
import { git } from './git.ts';
import { type GitServer, serveGitOverHttp } from './git-over-http.ts';
import { killProcessesMentioning } from './processes.ts';
import { CLI } from './program.ts';
import { PROJECT_ROOT } from './project-root.ts';
import { parseLogLine } from './runner.ts';
import { COMPILE_CACHE } from './runner-environment.ts';
import { makeTemporaryFolder, removeFolder } from './temporary-folder.ts';
import { until } from './until.ts';

/** The reason for the title of tests that are skipped without Redis. */
export const withoutRedis: string | null = hasRedisServer() ? null : 'redis-server is not installed';

/** Options of a Redis that loses nothing. */
export const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always'] as const;

export const JOB_TOKEN = 'ghp_jobCANARY567890abcdefghijklmnop';

export interface JobWorkerProcess {
  pid: number;
  /** Its JSON log lines so far. */
  logs(): Record<string, unknown>[];
  output(): string;
  exited: Promise<{ exitCode: number | null }>;
  signal(name: NodeJS.Signals): void;
  /** Sends SIGKILL to the worker alone. */
  kill(): Promise<void>;
  /** Sends SIGTERM and returns the exit code. */
  stop(): Promise<number | null>;
}

export interface JobStage {
  folder: string;
  server: RedisServer;
  redis: Redis;
  gitServer: GitServer;
  /** The address without credentials. */
  repositoryUrl: string;
  /** The bare repository. */
  bare: string;
  tempDir: string;
  /** Writes a script that acts as the agent, and returns the value of AGENT_COMMAND. */
  writeAgent(script: string, name?: string): Promise<string>;
  /** Adds a job of `userId`, whose provider exists. */
  job(fields?: JobFields): Promise<ProducedJob>;
  hash(id: string): Promise<Record<string, string>>;
  /** The lines of a job's output. */
  lines(id: string): Promise<string[]>;
  /** Waits for a final status and returns the hash. */
  ended(id: string): Promise<Record<string, string>>;
  /** The log lines of all workers so far. */
  workerLogs(): Record<string, unknown>[];
  /** Runs git in the bare repository. */
  git(...args: string[]): Promise<string>;
  environment(more?: Record<string, string | undefined>): Record<string, string>;
  /** `become` is the command prefix that runs the worker as another user. */
  startWorker(
    environment?: Record<string, string | undefined>,
    become?: readonly string[],
  ): Promise<JobWorkerProcess>;
  close(options?: { keep?: boolean }): Promise<void>;
}

/** The agent of most tests, which writes the prompt to a file. */
export const NOTE_AGENT = 'cat > note.txt; echo "noted $IAC_JOB_ID"';

export async function setJobStage(name: string, ...redisOptions: string[]): Promise<JobStage> {
  const folder = await makeTemporaryFolder(name);
  const server = await startRedisServer(...redisOptions);
  const redis = server.client();
  const bare = join(folder, 'app.git');
  await git(folder, ['init', '--quiet', '--bare', '--initial-branch=main', bare]);
  await git(bare, ['config', 'http.receivepack', 'true']);
  const work = join(folder, 'work');
  await git(folder, ['init', '--quiet', '--initial-branch=main', work]);
  await writeFile(join(work, 'README.md'), 'one\ntwo\nthree\n');
  await writeFile(join(work, '.gitignore'), 'ignored/\n');
  await git(work, ['add', '--all']);
  await git(work, ['commit', '--quiet', '-m', 'Begin']);
  await git(work, ['push', '--quiet', bare, 'main', 'main:develop']);
  const gitServer = await serveGitOverHttp({
    repositoryPath: bare,
    user: 'oauth2',
    password: JOB_TOKEN,
    name: 'acme/app.git',
    onRequest() {},
  });
  const tempDir = join(folder, 'repobox');
  const workers: JobWorkerProcess[] = [];
  const repositoryUrl = `http://${gitServer.address}`;
  const knownUsers = new Set<string>();

  function environment(more: Record<string, string | undefined> = {}): Record<string, string> {
    const all: Record<string, string | undefined> = {
      PATH: process.env.PATH,
      HOME: join(folder, 'home'),
      TMPDIR: join(folder, 'tmp'),
      REDIS_URL: server.url,
      ENCRYPTION_KEY,
      TEMP_DIR: tempDir,
      GIT_ALLOWED_PROTOCOLS: 'http,https',
      GIT_ALLOWED_HOSTS: '127.0.0.1',
      LOG_LEVEL: 'debug',
      ...COMPILE_CACHE,
      ...more,
    };
    return Object.fromEntries(
      Object.entries(all).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])),
    );
  }

  const hash = (id: string) => redis.hgetall(`job:${id}`);

  return {
    folder,
    server,
    redis,
    gitServer,
    repositoryUrl,
    bare,
    tempDir,
    environment,
    hash,
    async writeAgent(script, agentName = 'agent') {
      const path = join(folder, agentName);
      await writeFile(path, `#!/bin/sh\n${script}\n`);
      await chmod(path, 0o755);
      return path;
    },
    async job(fields = {}) {
      const { userId = 'ada' } = fields;
      if (!knownUsers.has(userId)) {
        await redis.hset(`git_provider:${userId}:p1`, {
          type: 'github',
          url: `http://127.0.0.1:${new URL(repositoryUrl).port}`,
          token: sealToken(JOB_TOKEN),
          username: userId,
          verified: 'true',
        });
        knownUsers.add(userId);
      }
      return produce(redis, { repositoryUrl, ...fields });
    },
    async lines(id) {
      const texts = await redis.lrange(`job:${id}:output`, 0, -1);
      return texts.map((text) => String((JSON.parse(text) as { line: unknown }).line));
    },
    ended(id) {
      let seen: Record<string, string> = {};
      return until(
        `the end of job ${id}`,
        async () => {
          seen = await hash(id);
          return ['success', 'failed', 'cancelled'].includes(seen.status ?? '') && seen.finished_at
            ? seen
            : null;
        },
        { seen: () => seen },
      );
    },
    workerLogs: () => workers.flatMap((worker) => worker.logs()),
    git: (...args) => git(bare, args),
    async startWorker(more = {}, become = []) {
      for (const part of ['home', 'tmp']) await mkdir(join(folder, part), { recursive: true });
      const worker = launch(environment(more), become);
      workers.push(worker);
      await until('the line "waiting for jobs"', async () => {
        if (worker.logs().some(({ msg }) => msg === 'waiting for jobs')) return true;
        const ended = await Promise.race([worker.exited, null]);
        if (ended) throw new Error(`The worker ended with ${ended.exitCode}: ${worker.output()}`);
        return null;
      });
      return worker;
    },
    async close({ keep = false } = {}) {
      await Promise.all(workers.map((worker) => worker.kill()));
      await killProcessesMentioning(folder);
      await gitServer.close();
      await server.remove();
      if (!keep) await removeFolder(folder);
    },
  };
}

function launch(environment: Record<string, string>, become: readonly string[]): JobWorkerProcess {
  const [program = '', ...args] = [...become, process.execPath, CLI, 'worker'];
  const child = execa(program, args, {
    cwd: PROJECT_ROOT,
    env: environment,
    extendEnv: false,
    buffer: false,
    reject: false,
    stdin: 'ignore',
  });
  if (child.pid === undefined) throw new Error('The worker could not be started.');
  const lines: string[] = [];
  const readers = (['stdout', 'stderr'] as const).map(async (from) => {
    for await (const line of child.iterable({ from })) lines.push(line);
  });
  const exited = child.then(async ({ exitCode }) => {
    await Promise.allSettled(readers);
    return { exitCode: exitCode ?? null };
  });
  return {
    pid: child.pid,
    exited,
    output: () => lines.join('\n'),
    logs: () => lines.flatMap(parseLogLine),
    signal: (name) => void child.nodeChildProcess.kill(name),
    async kill() {
      child.nodeChildProcess.kill('SIGKILL');
      await exited;
    },
    async stop() {
      child.nodeChildProcess.kill('SIGTERM');
      return (await exited).exitCode;
    },
  };
}
