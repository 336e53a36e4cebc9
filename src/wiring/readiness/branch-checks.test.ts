import { renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { createWorld } from '../../git/test-support.ts';
import { createSqliteStore } from '../../stores/sqlite/sqlite-store.ts';
import { createReadiness } from '../../web/frame/readiness.ts';
import { branchChecks, needsTaskRunner } from './branch-checks.ts';

const MINUTE_MS = 60_000;

async function createLook(settings: { branch?: string; commitSigners?: string; isDemanded?: boolean } = {}) {
  const world = await createWorld();
  const store = await createSqliteStore({ directory: path.join(world.root, 'store') });
  onTestFinished(() => store.close());
  const { branch = 'main', commitSigners = null, isDemanded = false } = settings;
  let now = 0;
  const place = {
    mirror: world.mirror,
    follows: { branch },
    scope: `sync:${branch}`,
    environment: {
      name: null,
      source: { branch },
      url: null,
      variables: {},
      secrets: {},
      windows: [],
    },
    ledger: store.ledger,
  };
  const checks = branchChecks(
    { requireSignedCommits: isDemanded, commitSigners },
    {
      git: world.git,
      ...place,
      now: () => now,
      signal: new AbortController().signal,
    },
  );
  await world.commit({ 'platform/01.redis/deploy.py': '' });
  return {
    world,
    needsTaskRunner: () => needsTaskRunner(place),
    async look() {
      now += MINUTE_MS;
      const { status, checks: found } = await createReadiness(checks, () => now, MINUTE_MS).look();
      const said = Object.entries(found).flatMap(([name, check]) =>
        check.status === 'ok' ? [] : [[name, check.problem] as const],
      );
      return { status, said: Object.fromEntries(said) };
    },
  };
}

it('A server is ready while the remote answers and has the branch, also before the first fetch', async () => {
  const { look } = await createLook();
  expect(await look()).toEqual({ status: 'ready', said: {} });
});

it('A server is not ready with a branch that is not there, which it names', async () => {
  const { look } = await createLook({ branch: 'production' });
  expect(await look()).toEqual({
    status: 'not_ready',
    said: { branch: 'The repository has no branch production. Push it, or correct GIT_BRANCH.' },
  });
});

it('A server is not ready with a remote that refuses, and is again when it answers', async () => {
  const { world, look } = await createLook();
  renameSync(world.remote, `${world.remote}.away`);
  const { status, said } = await look();
  expect([status, Object.keys(said)]).toEqual(['not_ready', ['remote']]);
  expect(said.remote).toContain('GIT_REPO_URL');
  renameSync(`${world.remote}.away`, world.remote);
  expect(await look()).toEqual({ status: 'ready', said: {} });
});

it('A server is degraded, and ready all the same, with rules that are broken at the head', async () => {
  const { world, look } = await createLook();
  await world.commit({ '.iac-runner.yaml': 'needs: [\n' });
  await world.mirror.fetch();
  const { status, said } = await look();
  expect([status, Object.keys(said)]).toEqual(['degraded', ['rules']]);
  expect(said.rules).toMatch(/\.iac-runner\.yaml.*The last good rules are used\./s);
});

it('A server is not ready without the file of signers, when commits must be signed', async () => {
  const file = path.join(import.meta.dirname, 'no-such-signers');
  expect((await (await createLook({ isDemanded: true, commitSigners: file })).look()).said).toEqual({
    signers: expect.stringMatching(/COMMIT_SIGNERS cannot be read: ENOENT.*no-such-signers/),
  });
  const { world, look } = await createLook();
  await world.commit({ '.iac-runner.yaml': 'signatures: required\n' });
  await world.mirror.fetch();
  expect((await look()).said).toEqual({ signers: expect.stringContaining('set COMMIT_SIGNERS') });
  const signers = path.join(world.root, 'signers');
  writeFileSync(signers, '');
  expect((await (await createLook({ isDemanded: true, commitSigners: signers })).look()).said).toEqual({});
});

it('needs no task runner if no rule of the branch has a task', async () => {
  const { world, needsTaskRunner } = await createLook();
  expect(await needsTaskRunner()).toBe(true);
  await world.mirror.fetch();
  expect(await needsTaskRunner()).toBe(true);
  await world.commit({ '.iac-runner.yaml': 'services: [{ match: "a/{service}/x", run: [make] }]\n' });
  await world.mirror.fetch();
  expect(await needsTaskRunner()).toBe(false);
});
