import { appendFile, lstat, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, type TestContext } from 'vitest';
import { describeError, RunnerError } from '../../errors.ts';
import { captureProcess } from '../../process/capture.ts';
import type { GitAuth } from '../../runs/deployments/deployment.ts';
import { createGit } from '../git.ts';
import { filesWithSecrets, listen, serveGit } from '../http-remote.fixture.ts';
import { noSshd, startSshd } from '../sshd.fixture.ts';
import { createWorld, PATH, type World } from '../test-support.ts';
import { createRemoteRepositories, type RemoteRepositories } from './remote-repositories.ts';
import { openSshSession } from './ssh-session.ts';

type SshAuth = Extract<GitAuth, { type: 'ssh' }>;

interface SshStage extends World {
  port: number;
  url: string;
  auth: SshAuth;
  /** The server's key without a host in front. */
  hostKey: string;
  repositories: RemoteRepositories;
  tempDir: string;
}

async function run(argv: [string, ...string[]]): Promise<void> {
  const result = await captureProcess({ argv, cwd: '/', env: { PATH }, timeoutMs: 30_000 });
  if (result.kind !== 'exited' || result.exitCode !== 0)
    throw new Error(`${argv.join(' ')}: ${JSON.stringify(result)}`);
}

async function createSshStage(context: TestContext): Promise<SshStage> {
  const missing = noSshd();
  if (missing !== null) context.skip(missing);
  const world = await createWorld();
  const { port, hostKey, folder } = await startSshd(join(world.root, 'sshd'));
  const tempDir = join(world.root, 'tmp');
  await mkdir(tempDir);
  return {
    ...world,
    port,
    hostKey,
    tempDir,
    url: `ssh://${userInfo().username}@127.0.0.1:${port}${world.remote}`,
    auth: {
      type: 'ssh',
      privateKey: await readFile(join(folder, 'client'), 'utf8'),
      knownHosts: `[127.0.0.1]:${port} ${hostKey}`,
    },
    repositories: createRemoteRepositories({
      directory: join(world.root, 'repositories'),
      path: PATH,
      home: world.root,
      timeoutMs: 60_000,
      rules: { protocols: ['ssh'], hosts: ['127.0.0.1'] },
      network: { SSH_AUTH_SOCK: '/nowhere/agent' },
      log: { warn: (_fields, message) => void world.warnings.push(message) },
      tempDir,
    }),
  };
}

/** Command lines of the agents whose socket is below the folder. */
async function agentsBelow(folder: string): Promise<string[]> {
  const lines: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (line.startsWith('ssh-agent') && line.includes(folder)) lines.push(line);
  }
  return lines;
}

async function failureOf(stage: SshStage, auth: SshAuth, url = stage.url): Promise<unknown> {
  const opened = stage.repositories.open({ url, auth });
  return opened
    .then(async (repository) => {
      try {
        return await repository.fetch('main');
      } finally {
        await repository.release();
      }
    })
    .catch((error: unknown) => error);
}

describe('A repository over ssh', () => {
  it('F41: is fetched with a key that is in no file, and leaves nothing behind', async (context) => {
    const stage = await createSshStage(context);
    const head = await stage.commit({ a: '1' });
    const repository = await stage.repositories.open({ url: stage.url, auth: stage.auth });
    expect(await agentsBelow(stage.tempDir)).toHaveLength(1);
    expect(await repository.fetch('main')).toMatchObject({ commit: head });
    await repository.checkOut(head, join(stage.root, 'checkout'));
    expect(await readFile(join(stage.root, 'checkout/a'), 'utf8')).toBe('1');

    const secret = stage.auth.privateKey.split('\n')[2] ?? 'none';
    expect(secret.length).toBeGreaterThan(40);
    const found = await filesWithSecrets(stage.root, [secret]);
    expect(found).toEqual([join(stage.root, 'sshd/client')]);
    const [folder = ''] = await readdir(stage.tempDir);
    expect((await lstat(join(stage.tempDir, folder))).mode & 0o777).toBe(0o700);
    await repository.release();
    await repository.release();
    expect(await agentsBelow(stage.tempDir)).toEqual([]);
    expect(await readdir(stage.tempDir)).toEqual([]);
  });

  it('takes a key without its last line end, or with those of Windows', async (context) => {
    const stage = await createSshStage(context);
    const head = await stage.commit({ a: '1' });
    for (const privateKey of [stage.auth.privateKey.trim(), stage.auth.privateKey.replaceAll('\n', '\r\n')])
      expect(await failureOf(stage, { ...stage.auth, privateKey })).toMatchObject({ commit: head });
  });

  it('is not opened with a key that the server or ssh does not take', async (context) => {
    const stage = await createSshStage(context);
    await stage.commit({ a: '1' });
    const stranger = await readFile(join(stage.root, 'sshd/stranger'), 'utf8');
    const refused = await failureOf(stage, { ...stage.auth, privateKey: stranger });
    expect(refused).toMatchObject({ kind: 'unavailable' });
    expect(describeError(refused)).toMatch(/Permission denied.*credentials for it/);

    const broken = await failureOf(stage, { ...stage.auth, privateKey: 'CANARY no key' });
    expect(broken).toBeInstanceOf(RunnerError);
    expect(describeError(broken)).toMatch(/^The private key cannot be used: .*OpenSSH or PEM/);
    expect(describeError(broken)).not.toContain('CANARY');

    await run([
      'ssh-keygen',
      '-q',
      '-p',
      '-P',
      '',
      '-N',
      'passphrase',
      '-f',
      join(stage.root, 'sshd/stranger'),
    ]);
    const locked = await readFile(join(stage.root, 'sshd/stranger'), 'utf8');
    expect(describeError(await failureOf(stage, { ...stage.auth, privateKey: locked }))).toMatch(
      /without a passphrase/,
    );
    expect(await readdir(stage.tempDir)).toEqual([]);
  });

  it('is not opened when the key of its host has changed or is not known', async (context) => {
    const stage = await createSshStage(context);
    const head = await stage.commit({ a: '1' });
    const other = (await readFile(join(stage.root, 'sshd/stranger.pub'), 'utf8')).trim();
    for (const knownHosts of [`[127.0.0.1]:${stage.port} ${other}`, `[127.0.0.1]:1 ${stage.hostKey}`, '']) {
      const error = await failureOf(stage, { ...stage.auth, knownHosts });
      expect(error).toMatchObject({ kind: 'unavailable' });
      expect(describeError(error)).toContain('Host key verification failed');
    }
    const unknown = await failureOf(stage, { ...stage.auth, knownHosts: null });
    expect(unknown).toBeInstanceOf(RunnerError);
    expect(describeError(unknown)).toMatch(/host key of \[127\.0\.0\.1\]:\d+ is not known/);

    await mkdir(join(stage.root, '.ssh'));
    const file = join(stage.root, '.ssh/known_hosts');
    await appendFile(file, `[127.0.0.1]:${stage.port} ${stage.hostKey}\n`);
    // The host names are hashed, as on many systems.
    await run(['ssh-keygen', '-H', '-f', file]);
    expect(await readFile(file, 'utf8')).toMatch(/^\|1\|/);
    expect(await failureOf(stage, { ...stage.auth, knownHosts: null })).toMatchObject({ commit: head });
  });

  it('waits until its agent listens, which is later than the file of the socket is there', async (context) => {
    const stage = await createSshStage(context);
    const bin = join(stage.root, 'bin');
    await mkdir(bin);
    const bind =
      'import socket, sys, time; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); time.sleep(1)';
    const slow = `#!/bin/sh\npython3 -c '${bind}' "$3"\nrm "$3"\nPATH='${PATH}' exec ssh-agent "$@"\n`;
    await writeFile(join(bin, 'ssh-agent'), slow, { mode: 0o755 });
    const session = await openSshSession({
      ...stage.auth,
      host: '127.0.0.1',
      port: stage.port,
      address: null,
      path: `${bin}:${PATH}`,
      home: stage.root,
      tempDir: stage.tempDir,
      environment: {},
    });
    await session.release();
    expect(await readdir(stage.tempDir)).toEqual([]);
  });

  it('ends its agent when the signal aborts', async (context) => {
    const stage = await createSshStage(context);
    await stage.commit({ a: '1' });
    const cancel = new AbortController();
    await stage.repositories.open({ url: stage.url, auth: stage.auth, signal: cancel.signal });
    expect(await agentsBelow(stage.tempDir)).toHaveLength(1);
    cancel.abort(new Error('cancelled by somebody'));
    for (const deadline = Date.now() + 60_000; Date.now() < deadline; await sleep(50)) {
      if ((await readdir(stage.tempDir)).length === 0) break;
    }
    expect(await agentsBelow(stage.tempDir)).toEqual([]);
    expect(await readdir(stage.tempDir)).toEqual([]);
    await expect(
      stage.repositories.open({ url: stage.url, auth: stage.auth, signal: cancel.signal }),
    ).rejects.toThrow('cancelled by somebody');
  });

  it('connects to the address that was checked, under the name that was requested', async (context) => {
    const stage = await createSshStage(context);
    await stage.commit({ a: '1' });
    const host = 'git.example.test';
    const session = await openSshSession({
      ...stage.auth,
      knownHosts: `[${host}]:${stage.port} ${stage.hostKey}`,
      host,
      port: stage.port,
      address: '127.0.0.1',
      path: PATH,
      home: stage.root,
      tempDir: stage.tempDir,
      environment: {},
    });
    const url = `ssh://${userInfo().username}@${host}:${stage.port}${stage.remote}`;
    const git = createGit({
      path: PATH,
      home: stage.root,
      remote: { url, token: null },
      timeoutMs: 30_000,
      sshCommand: session.command,
    });
    const heads = await git.read('It failed', ['ls-remote', '--', url], {
      gitDirectory: stage.remote,
      remote: true,
    });
    await session.release();
    expect(heads.toString()).toContain('refs/heads/main');
  });
});

describe('A repository over http', () => {
  it('is asked at the address that was checked', async () => {
    const world = await createWorld();
    await world.commit({ a: '1' });
    const address = await listen((request, response) => serveGit(world.remote, request, response));
    const port = address.split(':')[1];
    const url = `http://git.example.test:${port}/r.git`;
    const git = createGit({
      path: PATH,
      home: world.root,
      remote: { url, token: null },
      remoteSettings: [['http.curloptResolve', `git.example.test:${port}:[::1],127.0.0.1`]],
      timeoutMs: 30_000,
    });
    const heads = await git.read('It failed', ['ls-remote', '--', url], {
      gitDirectory: world.remote,
      remote: true,
    });
    expect(heads.toString()).toContain('refs/heads/main');
  });
});
