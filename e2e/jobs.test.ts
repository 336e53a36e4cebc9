/** Jobs of jobs:stream as their producers and users see them. */

import { readdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { describeUnless } from './support/describe-unless.ts';
import {
  JOB_TOKEN,
  type JobStage,
  type JobWorkerProcess,
  NOTE_AGENT,
  setJobStage,
  withoutRedis,
} from './support/jobs.ts';
import { processesMentioning } from './support/processes.ts';
import { CLI } from './support/program.ts';
import { PATIENCE_MS, until } from './support/until.ts';

describeUnless(withoutRedis, 'Jobs', () => {
  let stage: JobStage;
  let worker: JobWorkerProcess;

  beforeAll(async () => {
    stage = await setJobStage('jobs');
    // The prompt contains the commands of the job, so that one worker serves all tests.
    const agent = await stage.writeAgent(
      'cat > .prompt; . ./.prompt >&2; status=$?; rm -f .prompt; exit $status',
    );
    worker = await stage.startWorker({
      AGENT_COMMAND: `${agent} "with quotes"`,
      AGENT_ENV: 'SHOWN',
      SHOWN: 'yes',
    });
  });
  afterAll(() => stage.close());

  const tip = (id: string, format: string) =>
    stage.git('log', '-1', `--format=${format}`, `repobox/${id.slice(0, 8)}`);

  it('become a branch with one commit, and a hash that says so', async () => {
    const { id } = await stage.job({ prompt: 'echo four >> README.md\nsed -i 1d README.md' });
    const hash = await stage.ended(id);
    expect(hash).toMatchObject({
      status: 'success',
      branch: `repobox/${id.slice(0, 8)}`,
      lines_added: '1',
      lines_removed: '1',
      started_at: expect.stringMatching(/^\d{13}$/),
      finished_at: expect.stringMatching(/^\d{13}$/),
    });
    expect(Number(hash.finished_at)).toBeGreaterThanOrEqual(Number(hash.started_at));
    expect(hash.error_message).toBeUndefined();
    expect(await tip(id, '%B')).toBe('repobox: echo four >> README.md sed -i 1d README.md\n');
    expect(await tip(id, '%P')).toBe(await stage.git('rev-parse', 'main'));
    expect(await stage.git('show', `repobox/${id.slice(0, 8)}:README.md`)).toBe('two\nthree\nfour');
    expect(await stage.redis.get('runner:user:ada:running')).toBe('0');
    expect(await stage.redis.xlen('jobs:stream')).toBe(0);
    expect(await readdir(stage.tempDir)).toEqual([]);
    const lines = await stage.redis.lrange(`job:${id}:output`, 0, -1);
    expect(Object.keys(JSON.parse(lines[0] ?? '{}'))).toEqual(['timestamp', 'line', 'stream']);
    expect(await stage.redis.ttl(`job:${id}:output`)).toBeGreaterThan(86_000);
  });

  it('start from the branch that they name', async () => {
    const { id } = await stage.job({ branch: 'develop', prompt: 'echo x > x' });
    expect((await stage.ended(id)).status).toBe('success');
    expect(await tip(id, '%P')).toBe(await stage.git('rev-parse', 'develop'));
  });

  it('that change nothing push nothing, and say so', async () => {
    const { id } = await stage.job({ prompt: 'mkdir ignored; echo x > ignored/x' });
    expect(await stage.ended(id)).toMatchObject({ status: 'success', lines_added: '0', lines_removed: '0' });
    expect(await stage.lines(id)).toContain('nothing to commit');
    expect(await stage.git('branch', '--list', `repobox/${id.slice(0, 8)}`)).toBe('');
  });

  it('that fail have the reason in their output and hash', async () => {
    const { id } = await stage.job({ prompt: 'echo about to fail; exit 7' });
    const hash = await stage.ended(id);
    expect(hash).toMatchObject({ status: 'failed', error_message: 'The agent failed with exit code 7.' });
    expect(await stage.lines(id)).toEqual(expect.arrayContaining(['about to fail', hash.error_message]));
    expect(await stage.git('branch', '--list', `repobox/${id.slice(0, 8)}`)).toBe('');
    expect(await readdir(stage.tempDir)).toEqual([]);
  });

  it.each([
    ['an unknown branch', { branch: 'no-such-branch' }, /no-such-branch/],
    ['a branch like an option', { branch: '--upload-pack=touch' }, /upload-pack/],
    ['a host that is not allowed', { repositoryUrl: 'https://127.0.0.2/app.git' }, /127\.0\.0\.2/],
    ['an address that runs a program', { repositoryUrl: 'ext::sh -c id' }, /repo_url/],
    ['ssh', { repositoryUrl: 'ssh://git@github.com/a/b' }, /http/],
    ['a provider that is not there', { providerId: 'nobody' }, /provider nobody/],
  ])('with %s fail and say why', async (_what, fields, message) => {
    const { id } = await stage.job(fields);
    expect(await stage.ended(id)).toMatchObject({
      status: 'failed',
      error_message: expect.stringMatching(message),
    });
  });

  it('with a token that another key encrypted fail, and do not show the token', async () => {
    const sealed = 'AQEBAQEBAQEBAQEB:jMntqnPotwBiCRrE97dLUQ==:AAAAm/o2nyW9C9Hs6+md2eb9I5qyJkZd5E/qBB+W';
    await stage.redis.hset('git_provider:ada:p2', { type: 'github', url: '', token: sealed });
    const { id } = await stage.job({ providerId: 'p2' });
    const { error_message: message = '' } = await stage.ended(id);
    expect(message).toMatch(/cannot be decrypted/);
    expect(message).not.toContain(sealed);
  });

  it('never reveal the token to the agent, in the checkout, in an argument, or to readers', async () => {
    const { id } = await stage.job({
      prompt: [
        'env',
        'cat .git/config',
        `echo "found ${JOB_TOKEN}"`,
        'cat /proc/$PPID/cmdline | tr "\\0" " "',
        'git -C . remote -v',
        'echo x > x',
      ].join('\n'),
    });
    expect((await stage.ended(id)).status).toBe('success');
    const text = (await stage.lines(id)).join('\n');
    expect(text).not.toContain(JOB_TOKEN);
    expect(text).not.toContain(Buffer.from(`oauth2:${JOB_TOKEN}`).toString('base64'));
    expect(text).toContain('found ghp_****mnop');
    expect(text).toContain('SHOWN=yes');
    expect(text).toContain(`IAC_JOB_ID=${id}`);
    expect(text).not.toMatch(/REDIS_URL|ENCRYPTION_KEY/);
    expect(worker.output()).not.toContain(JOB_TOKEN);
  });

  it('run no hooks, filters or settings that the agent left', async () => {
    const { id } = await stage.job({
      prompt: [
        'mkdir -p .git/hooks',
        'printf "#!/bin/sh\\ntouch /tmp/hooked-$$\\nexit 1\\n" > .git/hooks/pre-commit',
        'cp .git/hooks/pre-commit .git/hooks/pre-push; chmod +x .git/hooks/*',
        'git config core.hooksPath .git/hooks; git config filter.x.clean "false"; git config core.fsmonitor false',
        'echo "* filter=x" > .gitattributes; echo x > x',
        'git -c user.name=a -c user.email=a commit -qam mine --no-verify || true',
        'git remote set-url origin http://127.0.0.1:1/evil.git',
      ].join('\n'),
    });
    expect((await stage.ended(id)).status).toBe('success');
    expect(await stage.git('log', '--format=%s', `main..repobox/${id.slice(0, 8)}`)).toMatch(
      /^repobox: [^\n]*$/,
    );
    expect(await stage.git('show', `repobox/${id.slice(0, 8)}:x`)).toBe('x');
  });

  it('end when their status is set to cancelled', async () => {
    const { id } = await stage.job({ prompt: 'echo started; sleep 600 & wait' });
    await until('the agent at work', async () => ((await stage.lines(id)).includes('started') ? true : null));
    await stage.redis.hset(`job:${id}`, 'status', 'cancelled');
    expect(await stage.ended(id)).toMatchObject({ status: 'cancelled' });
    expect(await stage.redis.get('runner:user:ada:running')).toBe('0');
    expect(await stage.redis.xlen('jobs:stream')).toBe(0);
    expect(await stage.git('branch', '--list', `repobox/${id.slice(0, 8)}`)).toBe('');
  });

  it('that were cancelled or done before their start are not started', async () => {
    const cancelled = await stage.job({ hash: { status: 'cancelled' }, prompt: 'echo x > x' });
    const done = await stage.job({ hash: { status: 'success' }, prompt: 'echo x > x' });
    await until('an empty stream', async () => ((await stage.redis.xlen('jobs:stream')) === 0 ? true : null));
    for (const { id } of [cancelled, done]) {
      const { started_at, finished_at } = await stage.hash(id);
      expect([started_at, finished_at]).toEqual([undefined, expect.stringMatching(/^\d{13}$/)]);
      expect(await stage.lines(id)).toEqual([]);
    }
  });

  it('are refused if another branch has their name', async () => {
    await stage.git('branch', 'repobox/deadbeef', 'main');
    const { id } = await stage.job({ id: 'deadbeef-0000-4000-8000-000000000000', prompt: 'echo x > x' });
    expect(await stage.ended(id)).toMatchObject({
      status: 'failed',
      error_message: /repobox\/deadbeef is there/,
    });
    expect(await stage.git('rev-parse', 'repobox/deadbeef')).toBe(await stage.git('rev-parse', 'main'));
  });

  it('write thousands of lines, in order, and keep odd lines', async () => {
    const { id } = await stage.job({
      prompt:
        'seq 1 5000; printf "\\033[31mred\\033[0m \\377\\n"; head -c 100000 /dev/zero | tr "\\0" a; echo',
    });
    await stage.ended(id);
    const lines = await stage.lines(id);
    const numbers = lines.filter((line) => /^\d+$/.test(line)).map(Number);
    expect(numbers).toEqual(Array.from({ length: 5_000 }, (_, index) => index + 1));
    expect(lines).toContain('\u001b[31mred\u001b[0m \ufffd');
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(20_000);
  });

  it('of an invalid form are set aside while valid jobs continue, and the worker lives on', async () => {
    const { id: broken } = await stage.job({ hash: { prompt: undefined } });
    await stage.redis.xadd('jobs:stream', '*', 'payload', '{"job_id": 7');
    const { id } = await stage.job({ prompt: 'echo good > good' });
    expect((await stage.ended(id)).status).toBe('success');
    expect(await stage.ended(broken)).toMatchObject({ status: 'failed', error_message: /prompt/ });
    const aside = await stage.redis.xrange('jobs:stream:aside', '-', '+');
    expect(aside.map(([, fields]) => fields.join(' ')).join('\n')).toMatch(/no job_id/);
    expect(await stage.redis.xlen('jobs:stream')).toBe(0);
  });
});

describeUnless(withoutRedis, 'Workers for jobs', () => {
  async function stageFor(name: string, ...options: string[]): Promise<JobStage> {
    const stage = await setJobStage(name, ...options);
    onTestFinished(async ({ task }) => stage.close({ keep: task.result?.state === 'fail' }));
    return stage;
  }

  it('need an ENCRYPTION_KEY of one of three forms, and a Redis', async () => {
    const stage = await stageFor('jobs-refused');
    const run = (environment: Record<string, string>) =>
      execa(process.execPath, [CLI, 'worker'], {
        env: stage.environment(environment),
        extendEnv: false,
        reject: false,
        timeout: PATIENCE_MS,
      });
    const wrong = await run({ ENCRYPTION_KEY: 'too-short-CANARY' });
    expect([wrong.exitCode, wrong.stderr]).toEqual([3, expect.stringMatching(/ENCRYPTION_KEY is wrong/)]);
    expect(wrong.stderr).not.toContain('CANARY');
    expect((await run({ ENCRYPTION_KEY: '' })).exitCode).toBe(3);
    const agent = await run({ AGENT_COMMAND: 'agent "unclosed' });
    expect([agent.exitCode, agent.stderr]).toEqual([3, expect.stringMatching(/AGENT_COMMAND .*unclosed/)]);
    const nobody = await run({ REDIS_URL: 'redis://:pass-CANARY@127.0.0.1:1' });
    expect([nobody.exitCode, nobody.stderr]).toEqual([
      1,
      expect.stringMatching(/Redis at redis:\/\/127.0.0.1:1/),
    ]);
    expect(nobody.stderr).not.toContain('CANARY');
  });

  it('F51: refuse a wrong password, naming REDIS_URL', async () => {
    const stage = await stageFor('jobs-password', '--requirepass', 'right-password');
    const { exitCode, stderr } = await execa(process.execPath, [CLI, 'worker'], {
      env: stage.environment({ REDIS_URL: stage.server.url.replace('//', '//:wrong-CANARY@') }),
      extendEnv: false,
      reject: false,
      timeout: PATIENCE_MS,
    });
    expect([exitCode, stderr]).toEqual([1, expect.stringMatching(/REDIS_URL/)]);
    expect(stderr).not.toContain('CANARY');
  });

  it('give the agent its arguments without a shell, and the job in the environment and on standard input', async () => {
    const stage = await stageFor('jobs-agent');
    const agent = await stage.writeAgent(
      'for word in "$@"; do echo "[$word]"; done; echo "$IAC_JOB_ID $IAC_JOB_ENVIRONMENT"; cat',
    );
    const words = `"two words" '$HOME' $(id) ; a\\ b "" *`;
    await stage.startWorker({ AGENT_COMMAND: `${agent} ${words}` });
    const { id } = await stage.job({ prompt: 'All of\nthe prompt', hash: { environment: 'staging' } });
    expect((await stage.ended(id)).status).toBe('success');
    const given = ['[two words]', '[$HOME]', '[$(id)]', '[;]', '[a b]', '[]', '[*]'];
    const lines = await stage.lines(id);
    expect(lines.slice(lines.indexOf('[two words]'))).toEqual([
      ...given,
      `${id} staging`,
      'All of',
      'the prompt',
      'nothing to commit',
    ]);
  });

  it('are listed among the consumers by RUNNER_ID, or by host and process', async () => {
    const stage = await stageFor('jobs-names');
    const busy = { AGENT_COMMAND: await stage.writeAgent('sleep 600'), MAX_CONCURRENT_JOBS: '1' };
    const { pid } = await stage.startWorker(busy);
    await stage.startWorker({ ...busy, RUNNER_ID: 'runner-7' });
    for (const userId of ['ada', 'bob']) await stage.job({ userId });
    const names = await until('two consumers', async () => {
      const consumers = (await stage.redis.xinfo(
        'CONSUMERS',
        'jobs:stream',
        'jobs:stream:runners',
      )) as string[][];
      return consumers.length === 2 ? consumers.map(([, name]) => name) : null;
    });
    expect(names.toSorted()).toEqual([`${hostname()}:${pid}`, 'runner-7'].toSorted());
  });

  it('clone only by https unless another protocol is allowed', async () => {
    const stage = await stageFor('jobs-https');
    await stage.startWorker({ GIT_ALLOWED_PROTOCOLS: undefined });
    const { id } = await stage.job();
    expect(await stage.ended(id)).toMatchObject({ status: 'failed', error_message: /https/ });
  });

  it('change nothing without AGENT_COMMAND', async () => {
    const stage = await stageFor('jobs-placeholder');
    await stage.startWorker();
    const { id } = await stage.job();
    expect((await stage.ended(id)).status).toBe('success');
    expect(await stage.lines(id)).toContain('nothing to commit');
  });

  it('end a job after JOB_TIMEOUT', async () => {
    const stage = await stageFor('jobs-timeout');
    const agent = await stage.writeAgent('sleep 600');
    await stage.startWorker({ AGENT_COMMAND: agent, JOB_TIMEOUT: '2' });
    const { id } = await stage.job();
    expect(await stage.ended(id)).toMatchObject({
      status: 'failed',
      error_message: 'The job timed out after 2 s.',
    });
    // The job may or may not have reached the agent by then.
    expect(await processesMentioning(id)).toEqual([]);
  });

  it('keep the checkout of a job if they are configured to, without the token', async () => {
    const stage = await stageFor('jobs-kept');
    const agent = await stage.writeAgent('echo kept > note');
    await stage.startWorker({ AGENT_COMMAND: agent, CLEANUP_AFTER_JOB: 'false' });
    const { id } = await stage.job();
    expect((await stage.ended(id)).status).toBe('success');
    expect(await readFile(join(stage.tempDir, id, 'note'), 'utf8')).toBe('kept\n');
    expect(await readFile(join(stage.tempDir, id, '.git/config'), 'utf8')).not.toContain(JOB_TOKEN);
  });

  it('use almost no processor time while there is nothing to do', async () => {
    const stage = await stageFor('jobs-idle');
    const worker = await stage.startWorker();
    const ticks = async () => {
      const fields = (await readFile(`/proc/${worker.pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
      return Number(fields[11]) + Number(fields[12]);
    };
    // The measurement starts after the start-up. A loop that does not wait would use all of its processor time.
    await until('five seconds with less than half a second of processor time', async () => {
      const before = await ticks();
      await sleep(5_000);
      // A tick is 10 ms.
      return (await ticks()) - before < 50 ? true : null;
    });
  });

  it('start jobs of other users while one user has more jobs than the limit', async () => {
    const stage = await stageFor('jobs-surplus');
    const agent = await stage.writeAgent('cat > p; sleep "$(cat p)"');
    await stage.startWorker({ AGENT_COMMAND: agent, MAX_CONCURRENT_JOBS: '5', MAX_JOBS_PER_USER: '2' });
    for (let index = 0; index < 10; index += 1) await stage.job({ prompt: '30' });
    const { id } = await stage.job({ userId: 'bob', prompt: '0' });
    expect((await stage.ended(id)).status).toBe('success');
    expect(await stage.redis.get('runner:user:ada:running')).toBe('2');
  });

  it('on SIGTERM let a short job end, take no more jobs, and exit', async () => {
    const stage = await stageFor('jobs-drain');
    const agent = await stage.writeAgent('cat > note; echo started; sleep 2');
    const worker = await stage.startWorker({ AGENT_COMMAND: agent });
    const { id } = await stage.job();
    await until('the agent at work', async () => ((await stage.lines(id)).includes('started') ? true : null));
    const stopped = worker.stop();
    await until('the drain', () => (worker.output().includes('no more jobs are taken') ? true : null));
    const late = await stage.job();
    expect(await stopped).toBe(0);
    expect((await stage.hash(id)).status).toBe('success');
    expect((await stage.hash(late.id)).status).toBe('pending');
    expect(await stage.redis.xinfo('CONSUMERS', 'jobs:stream', 'jobs:stream:runners')).toEqual([]);
  });

  it('on SIGTERM hand back a job that does not end in time, and another worker starts it at once', async () => {
    const stage = await stageFor('jobs-hand-back');
    const slow = await stage.writeAgent('echo started; sleep 600');
    const worker = await stage.startWorker({ AGENT_COMMAND: slow, DRAIN_TIMEOUT: '1' });
    const { id } = await stage.job();
    await until('the agent at work', async () => ((await stage.lines(id)).includes('started') ? true : null));
    expect(await worker.stop()).toBe(0);
    expect(await stage.hash(id)).toMatchObject({ status: 'pending' });
    expect(await stage.redis.get('runner:user:ada:running')).toBe('0');
    const quick = await stage.writeAgent(NOTE_AGENT, 'quick');
    await stage.startWorker({ AGENT_COMMAND: quick });
    expect((await stage.ended(id)).status).toBe('success');
  });

  it('open a pull request on GitHub or a merge request on GitLab, and a failure there is a warning', async () => {
    const api = await startProviderApi();
    const stage = await stageFor('jobs-requests');
    const agent = await stage.writeAgent(NOTE_AGENT);
    await stage.startWorker({ AGENT_COMMAND: agent, CREATE_CHANGE_REQUEST: 'true' });
    await stage.job({ hash: { status: 'cancelled' } });
    const known = await stage.redis.hgetall('git_provider:ada:p1');
    const ends: Record<string, string>[] = [];
    for (const [type, branch] of [
      ['github', ''],
      ['gitlab', 'develop'],
      ['github', 'develop'],
    ] as const) {
      const providerId = `${type}-${branch}`;
      await stage.redis.hset(`git_provider:ada:${providerId}`, { ...known, type, url: api.origin });
      api.refuse(ends.length === 2);
      const { id } = await stage.job({ providerId, branch, prompt: `Change ${ends.length}\nin detail` });
      ends.push(await stage.ended(id));
    }
    expect(ends[0]).toMatchObject({ status: 'success', mr_url: 'https://git.example.com/pull/7' });
    expect(ends[1]).toMatchObject({ status: 'success', mr_url: 'https://git.example.com/merge/8' });
    expect(ends[2]).toMatchObject({
      status: 'success',
      mr_warning: 'The provider answered HTTP 403: ghp_****mnop may not.',
    });
    const [github, gitlab] = api.asked.filter(({ method }) => method === 'POST');
    expect(github).toEqual({
      method: 'POST',
      url: '/api/v3/repos/acme/app/pulls',
      authorization: `Bearer ${JOB_TOKEN}`,
      body: {
        title: 'repobox: Change 0 in detail',
        head: ends[0]?.branch,
        base: 'main',
        body: 'Change 0\nin detail',
      },
    });
    expect(gitlab).toMatchObject({
      url: '/api/v4/projects/acme%2Fapp/merge_requests',
      body: { source_branch: ends[1]?.branch, target_branch: 'develop' },
    });
  });
});

interface Asked {
  method: string;
  url: string;
  authorization: string;
  body: unknown;
}

/** A server that acts as the APIs of both. */
async function startProviderApi() {
  const asked: Asked[] = [];
  let refusing = false;
  const api = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const { method = '', url = '', headers } = request;
    asked.push({
      method,
      url,
      authorization: headers.authorization ?? '',
      body: body === '' ? null : JSON.parse(body),
    });
    const made = { html_url: 'https://git.example.com/pull/7', web_url: 'https://git.example.com/merge/8' };
    const status = refusing ? 403 : method === 'POST' ? 201 : 200;
    const answer = refusing
      ? { message: `${JOB_TOKEN} may not` }
      : method === 'POST'
        ? made
        : { default_branch: 'main' };
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  });
  await new Promise<void>((resolve) => api.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void api.close());
  const address = api.address();
  return {
    asked,
    origin: `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`,
    refuse(now: boolean) {
      refusing = now;
    },
  };
}
