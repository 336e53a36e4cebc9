/** A service whose task replaces the runner's own container, with a real engine and the real image. */

import { chmodSync, chownSync, cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type ContainerEngine, containerParts, startContainerEngine } from './support/container-engine.ts';
import { describeUnless } from './support/describe-unless.ts';
import { createPlatformRepository, type PlatformRepository } from './support/platform-repository.ts';
import { PROJECT_ROOT } from './support/project-root.ts';
import {
  createRunnerClient,
  type DetailedRun,
  type ListedRun,
  type RunnerClient,
} from './support/runner-client.ts';
import { API_TOKENS, WEBHOOK_SECRET } from './support/runner-environment.ts';
import { makeTemporaryFolder, removeFolder } from './support/temporary-folder.ts';
import { until } from './support/until.ts';
import { createWebhookSender } from './support/webhook-sender.ts';

const parts = containerParts();
const unavailable = 'missing' in parts ? parts.missing : null;
const SERVICE_FOLDER = 'platform/09.runner';
const RUNNER_UID = 10001;
const BUILD_LIMIT_MS = 600_000;
const TEST_LIMIT_MS = 300_000;

describeUnless(unavailable, "The runner's own container", () => {
  let folder: string;
  let engine: ContainerEngine;
  let repository: PlatformRepository;
  let client: RunnerClient;
  let address = '';

  beforeAll(async () => {
    if ('missing' in parts) return;
    folder = await makeTemporaryFolder('containers');
    chmodSync(folder, 0o755);
    engine = await startContainerEngine(parts.folder, join(folder, 'engine'));
    await engine.docker('network', 'create', 'traefik');
    await engine.build('iac-runner-with-docker', join(PROJECT_ROOT, 'examples/self-deploy'));
    writeProject();
    repository = await createPlatformRepository(folder);
    await writeSelfDeployService();
    await repository.commit('Let the platform deploy its own runner');
    await repository.push();
    shareRepository();
    client = createRunnerClient(() => address);
  }, BUILD_LIMIT_MS);

  afterAll(async () => {
    await engine?.stop();
    if (folder) await removeFolder(folder);
  }, BUILD_LIMIT_MS);

  it(
    'is replaced by its own sync, and the run that replaced it succeeds in the new container',
    async () => {
      await startByHand();
      const first = await containerId();
      await waitUntilReady();
      const all = await client.signedPost('/sync', { all: true });
      expect(all).toMatchObject({ status: 200, body: { status: 'accepted' } });
      await waitUntilSucceeded(() => true);
      // Compose had nothing to do.
      expect(await containerId()).toBe(first);

      await changeOverride('LOG_LEVEL: info', 'LOG_LEVEL: debug');
      const commit = await repository.commit('Let the runner log more');
      const refUpdate = await repository.push();
      shareRepository();
      const delivery = await createWebhookSender().deliverPush({
        url: `${address}/webhook`,
        secret: WEBHOOK_SECRET,
        repository: { path: repository.path, fullName: 'acme/platform' },
        ...refUpdate,
      });
      expect(delivery).toMatchObject({ status: 200, body: { services: ['platform/runner'] } });

      const second = await until(
        'another container',
        async () => {
          const id = await containerId().catch(() => first);
          return id === first ? null : id;
        },
        { timeoutMs: TEST_LIMIT_MS },
      );
      await waitUntilReady();
      const run = await waitUntilSucceeded(({ revision }) => revision === commit);
      expect(run.steps).toMatchObject([{ id: 'platform/runner', state: 'succeeded' }]);
      expect(await containerId()).toBe(second);
      const environment = await engine.docker('inspect', '--format', '{{json .Config.Env}}', second);
      expect(environment).toContain('LOG_LEVEL=debug');
      // Neither the first container nor a helper container is left behind.
      expect((await engine.docker('ps', '--all', '--quiet', '--no-trunc')).split('\n')).toEqual([second]);
    },
    TEST_LIMIT_MS * 2,
  );

  /** The operator's folder on the host, with this repository's compose.yaml and an .env file. */
  function writeProject(): void {
    const project = join(folder, 'iac-runner');
    const ssh = join(folder, 'ssh');
    mkdirSync(project);
    mkdirSync(ssh);
    const compose = readFileSync(join(PROJECT_ROOT, 'compose.yaml'), 'utf8');
    writeFileSync(join(project, 'compose.yaml'), compose.replace('/etc/iac-runner/ssh', ssh));
    const tokens = Object.entries(API_TOKENS).map(([role, token]) => `${role}:${role}:${token}`);
    const lines = [
      `WEBHOOK_SECRET=${WEBHOOK_SECRET}`,
      'GIT_REPO_URL=/platform.git',
      'GITHUB_REPOSITORY=acme/platform',
      'INTERNAL_DOMAIN=example.com',
      `API_TOKENS=${tokens.join(',')}`,
      // The task waits until it is ended, so a short drain makes the test short.
      'DRAIN_TIMEOUT=3',
      'DOCKER_GROUP_ID=0',
    ];
    writeFileSync(join(project, '.env'), `${lines.join('\n')}\n`, { mode: 0o600 });
  }

  /** The example, with this engine's socket and this test's folder in place of those of a host. */
  async function writeSelfDeployService(): Promise<void> {
    const example = join(PROJECT_ROOT, 'examples/self-deploy');
    const deploy = readFileSync(join(example, 'deploy.py'), 'utf8')
      .replace('"/opt/iac-runner"', JSON.stringify(join(folder, 'iac-runner')))
      .replace('"/var/run/docker.sock"', JSON.stringify(engine.socket));
    await repository.write(`${SERVICE_FOLDER}/deploy.py`, deploy);
    const override = readFileSync(join(example, 'compose.override.yaml'), 'utf8')
      .replace('- /var/run/docker.sock:', `- ${engine.socket}:`)
      .replace('volumes:\n', `volumes:\n      - ${join(folder, 'shared.git')}:/platform.git:ro\n`);
    await repository.write(`${SERVICE_FOLDER}/compose.override.yaml`, override);
  }

  async function changeOverride(from: string, to: string): Promise<void> {
    const file = `${SERVICE_FOLDER}/compose.override.yaml`;
    const text = readFileSync(join(repository.clone, file), 'utf8');
    expect(text).toContain(from);
    await repository.write(file, text.replace(from, to));
  }

  /** Copies the repository to where containers read it, owned by the runner's user, because git requires that. */
  function shareRepository(): void {
    const shared = join(folder, 'shared.git');
    cpSync(repository.path, shared, { recursive: true, force: true });
    chownSync(shared, RUNNER_UID, RUNNER_UID);
    for (const entry of readdirSync(shared, { recursive: true, encoding: 'utf8' })) {
      chownSync(join(shared, entry), RUNNER_UID, RUNNER_UID);
    }
  }

  /** The commands that the operator types on the host, once. */
  async function startByHand(): Promise<void> {
    const project = join(folder, 'iac-runner');
    const service = join(repository.clone, SERVICE_FOLDER);
    await engine.docker(
      ...['run', '--rm', '--volume', `${engine.socket}:/var/run/docker.sock`],
      ...['--volume', `${project}:${project}:ro`, '--volume', `${service}:/service:ro`, 'docker:28-cli'],
      ...['docker', 'compose', '--project-directory', project, '--file', `${project}/compose.yaml`],
      ...['--file', '/service/compose.override.yaml', 'up', '--detach'],
    );
  }

  async function containerId(): Promise<string> {
    const filter = 'label=com.docker.compose.service=iac-runner';
    const ids = await engine.docker('ps', '--quiet', '--no-trunc', '--filter', filter);
    const [id = ''] = ids.split('\n');
    if (!/^[0-9a-f]{64}$/.test(id)) throw new Error('No container of the runner is running.');
    return id;
  }

  /** Waits for the run to end, and shows the output of the task when it failed. */
  async function waitUntilSucceeded(which: (run: ListedRun) => boolean): Promise<DetailedRun> {
    const run = await client.waitForRun(which, 'final', { timeoutMs: TEST_LIMIT_MS });
    const log = await client.getJson(`/runs/${run.run_id}/log?step=platform/runner`);
    expect(run.state, String(log.body)).toBe('succeeded');
    return run;
  }

  async function waitUntilReady(): Promise<void> {
    const format = '{{.NetworkSettings.Networks.traefik.IPAddress}}';
    await until(
      'a ready runner',
      async () => {
        const id = await containerId().catch(() => null);
        if (id === null) return null;
        address = `http://${await engine.docker('inspect', '--format', format, id)}:8080`;
        const answer = await fetch(`${address}/ready`, { signal: AbortSignal.timeout(2_000) }).catch(
          () => null,
        );
        return answer?.status === 200 ? true : null;
      },
      { timeoutMs: TEST_LIMIT_MS },
    );
  }
});
