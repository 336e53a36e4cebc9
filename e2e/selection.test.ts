/** Which services a push runs, in which order, and why: tables over the example's twelve services. */

import { chmod, mkdir, readdir, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { PlatformRepository } from './support/platform-repository.ts';
import {
  ALL_IDS,
  appendLine,
  commitChange,
  FOLDERS,
  syncedAt,
  writeGatedService,
} from './support/platform-services.ts';
import { PROJECT_ROOT } from './support/project-root.ts';
import { acceptedRun } from './support/run-actions.ts';
import type { DetailedRun } from './support/runner-client.ts';
import { openGate, type SharedStage, shareStage } from './support/shared-stage.ts';
import { setTestStage } from './support/test-stage.ts';

const whySchema = z.object({
  notes: z.array(z.string()),
  services: z.array(
    z.object({ service: z.string(), decision: z.string(), because: z.string(), paths: z.array(z.string()) }),
  ),
});

interface Pushed {
  commit: string;
  /** The services in the answer. */
  announced: string[];
  run: DetailedRun;
  why: z.infer<typeof whySchema>;
  /** What the journal shows at the commit. */
  ran: string[];
}

/** Pushes what was committed, which must be accepted, and waits for the end of its run. */
async function push({ stage, runner }: SharedStage, state = 'succeeded'): Promise<Pushed> {
  const commit = await stage.repository.head();
  const delivery = await stage.push(runner);
  const run = await runner.waitForRun(acceptedRun(delivery), state);
  const { services: announced } = z.object({ services: z.array(z.string()) }).parse(delivery.body);
  return {
    commit,
    announced,
    run,
    why: whySchema.parse(run.why),
    ran: await syncedAt(stage.journal, commit),
  };
}

/** Lets the branch look again as it did at this commit, so that the next test finds the usual services. */
async function restore(shared: SharedStage, commit: string): Promise<void> {
  const { repository } = shared.stage;
  await repository.git('rm', '--quiet', '-r', '--', '.');
  await repository.git('checkout', '--quiet', commit, '--', '.');
  await repository.commit('As it was');
  await push(shared, 'final');
}

interface Case {
  what: string;
  change(repository: PlatformRepository): Promise<unknown>;
  /** The services that run. */
  runs: string[];
  /** Those in the answer, where they are others. */
  announces?: string[];
}

const CASES: Case[] = [
  {
    what: 'a compose file: its service',
    change: (repository) => appendLine(repository, 'platform/01.redis/compose.yaml', '# More memory'),
    runs: ['platform/redis'],
  },
  {
    what: 'a file deep in the folder of a service, though its path looks like another one: its service',
    change: (repository) => repository.write('platform/01.redis/platform/02.vault/deploy.py', 'no service\n'),
    runs: ['platform/redis'],
  },
  {
    what: 'a file in a service of the second place: that one, and not its namesake',
    change: (repository) => repository.write(`${FOLDERS['finance_report/postgres']}/init.sql`, 'SELECT 1;\n'),
    runs: ['finance_report/postgres'],
  },
  {
    what: 'a shared library: all twelve',
    change: (repository) => appendLine(repository, 'libs/console.py', '# Brighter'),
    runs: ALL_IDS,
    announces: ['__all__'],
  },
  {
    what: 'a new file among the shared libraries: all twelve',
    change: (repository) => repository.write('libs/deep/er/new.txt', 'new\n'),
    runs: ALL_IDS,
    announces: ['__all__'],
  },
  {
    what: 'the file of the tasks and one service: all twelve',
    change: async (repository) => {
      await appendLine(repository, 'tasks.py', '# Tidier');
      await appendLine(repository, 'platform/02.vault/compose.yaml', '# Sealed');
    },
    runs: ALL_IDS,
    announces: ['__all__', 'platform/vault'],
  },
  {
    what: 'a file renamed from one service to another: both',
    change: (repository) => repository.move('platform/04.dashy/conf.yml', 'platform/02.minio/conf.yml'),
    runs: ['platform/dashy', 'platform/minio'],
  },
  {
    what: 'the mode of a file: its service',
    change: (repository) => chmod(join(repository.clone, 'platform/05.signoz/compose.yaml'), 0o755),
    runs: ['platform/signoz'],
  },
  {
    what: 'two names that differ in case alone: their service',
    change: async (repository) => {
      await repository.write('platform/05.signoz/Notes', 'one\n');
      await repository.write('platform/05.signoz/notes', 'two\n');
    },
    runs: ['platform/signoz'],
  },
  {
    what: 'a link to somewhere else: its service',
    change: (repository) => symlink('/etc/hostname', join(repository.clone, 'platform/05.signoz/link')),
    runs: ['platform/signoz'],
  },
  {
    what: 'a change that the same push takes back: nothing, after a look',
    change: async (repository) => {
      await commitChange(repository, ['platform/redis'], 'Hasty');
      await repository.git('revert', '--no-edit', 'HEAD');
    },
    runs: [],
    announces: ['platform/redis'],
  },
  {
    what: 'a merged branch: what it changed',
    change: async (repository) => {
      await repository.git('checkout', '--quiet', '-b', 'feature');
      await commitChange(repository, ['platform/clickhouse', 'platform/vault'], 'A feature');
      await repository.git('checkout', '--quiet', 'main');
      await repository.write('README.md', 'Meanwhile.\n');
      await repository.commit('Meanwhile');
      await repository.git('merge', '--quiet', '--no-edit', 'feature');
    },
    runs: ['platform/clickhouse', 'platform/vault'],
  },
  {
    what: 'a link in place of a deploy.py, and of a whole folder: no services',
    change: async (repository) => {
      await mkdir(join(repository.clone, 'platform/08.linked'));
      await symlink('../01.redis/deploy.py', join(repository.clone, 'platform/08.linked/deploy.py'));
      await symlink('01.redis', join(repository.clone, 'platform/08.alias'));
    },
    runs: [],
    announces: ['platform/linked'],
  },
];

const NOTHING: Omit<Case, 'runs'>[] = [
  { what: 'only a README', change: (repository) => appendLine(repository, 'README.md', 'More.') },
  { what: 'nothing at all', change: async () => {} },
  {
    what: 'files beside the services',
    change: async (repository) => {
      await repository.write('platform/README.md', 'The platform.\n');
      await repository.write('platform/compose.yaml', 'services: {}\n');
      await repository.write('finance_report/01.fake/deploy.py', 'no service here\n');
    },
  },
  {
    what: 'what is known and never run',
    change: (repository) => appendLine(repository, 'bootstrap/05.iac-runner/compose.yaml', '# Note'),
  },
  {
    what: 'F35: folders whose names are no service names',
    change: async (repository) => {
      const folders = [
        ...[
          '01.-revil',
          '01.a;b',
          '01.$(id)',
          '01.--help',
          '01.UPPER',
          '01.',
          'redis',
          'x1.redis',
          '01redis',
        ],
        ...['01.redis\nlibs', '01.redis ', ' 01.redis', '٣.redis', '01.rédis', '-1.redis'],
      ];
      for (const folder of folders)
        await repository.write(`platform/${folder}/deploy.py`, 'raise SystemExit\n');
      await repository.write('libs \n/x', 'not shared\n');
      await repository.write('Libs/x', 'not shared\n');
    },
  },
];

/** What a shell makes a space of, where a name may hold none. */
const IFS = '$'.concat('{IFS}');

describe('A push that changes', () => {
  const shared = shareStage('selection');

  it.each(CASES)('$what', async ({ change, runs, announces = runs }) => {
    const { stage } = shared();
    await change(stage.repository);
    await stage.repository.commit('Change something');
    const pushed = await push(shared());
    expect(pushed.ran).toEqual(runs);
    expect(pushed.announced).toEqual(announces);
    const chosen = pushed.why.services.filter(({ decision }) => decision === 'run');
    expect(chosen.map(({ service }) => service).toSorted()).toEqual(runs);
    expect(chosen.filter(({ paths }) => paths.length === 0)).toEqual([]);
    expect(pushed.run.steps.filter(({ state }) => state !== 'succeeded')).toEqual([]);
    expect(pushed.run.message).toBe(
      runs.length > 0 ? `${runs.length} service(s) synced successfully` : 'No services required sync',
    );
  });

  it('F40: files with any name: exactly their services, each path as it is', async () => {
    const { stage } = shared();
    const { repository } = stage;
    const names: Record<string, string> = {
      'platform/postgres': 'a"b\'c`d.tf',
      'platform/redis': 'new\nline\tand tab',
      'platform/vault': '-rf',
      'platform/minio': ' spaces around ',
      'platform/clickhouse': '🐘.sql',
      'platform/authentik': 'ünïcode/日本語.yml',
      'platform/dashy': `$(touch x);${IFS}|&<>*?[a]\\`,
      'platform/signoz': '::error::x\r',
      'finance_report/app': `${'n'.repeat(200)}/${'m'.repeat(200)}/${'o'.repeat(200)}`,
    };
    for (const [id, name] of Object.entries(names)) await repository.write(`${FOLDERS[id]}/${name}`, 'odd\n');
    await repository.commit('Odd names');
    const { ran, announced, why } = await push(shared());
    const ids = Object.keys(names).toSorted();
    expect({ ran, announced }).toEqual({ ran: ids, announced: ids });
    for (const id of ids) {
      const { paths } = why.services.find(({ service }) => service === id) ?? { paths: [] };
      expect(paths).toEqual([`${FOLDERS[id]}/${names[id]}`]);
    }
  });

  it('F40: a name that is not UTF-8: its service', async () => {
    const { stage } = shared();
    const folder = Buffer.from(join(stage.repository.clone, 'platform/05.signoz/caf'));
    await writeFile(Buffer.concat([folder, Buffer.from([0xe9])]), 'latin-1\n');
    await stage.repository.commit('A name in Latin-1');
    expect((await push(shared())).ran).toEqual(['platform/signoz']);
  });

  it('F37: a submodule that appears and moves on: its service, and nothing is cloned', async () => {
    const { stage } = shared();
    const { repository } = stage;
    await mkdir(join(repository.clone, 'platform/01.redis/vendor'));
    const url = '[submodule "vendor"]\n\tpath = platform/01.redis/vendor\n\turl = ext::touch%20canary-37\n';
    await repository.write('.gitmodules', url);
    for (const id of ['1', '2']) {
      const entry = `160000,${id.repeat(40)},platform/01.redis/vendor`;
      await repository.git('add', '.gitmodules');
      await repository.git('update-index', '--add', '--cacheinfo', entry);
      await repository.git('commit', '--quiet', '--message=Submodule');
      expect((await push(shared())).ran).toEqual(['platform/redis']);
    }
    const files = await readdir(stage.folder, { recursive: true });
    expect(files.filter((path) => path.includes('canary-37'))).toEqual([]);
    await repository.remove('platform/01.redis/vendor');
    await repository.remove('.gitmodules');
    await repository.commit('No submodule');
    expect((await push(shared())).ran).toEqual(['platform/redis']);
  });

  it('services that come, go and come back: run, reported as removed once, run again', async () => {
    const { stage, runner } = shared();
    const { repository } = stage;
    await writeGatedService(repository, 'platform/06.grafana', 'open');
    await openGate(stage, 'open');
    await repository.commit('Add grafana');
    expect((await push(shared())).ran).toEqual(['platform/grafana']);

    await rename(join(repository.clone, 'platform/06.grafana'), join(stage.folder, 'kept'));
    const removal = await repository.commit('Remove grafana');
    const removed = await push(shared());
    expect(removed.ran).toEqual([]);
    expect(removed.run.steps).toMatchObject([{ id: 'platform/grafana', state: 'removed' }]);
    await stage.github.statuses.waitFor({ sha: removal, state: 'success' });
    expect(stage.github.statuses.latest(removal)).toMatchObject({ description: 'No services required sync' });

    await commitChange(repository, ['platform/redis'], 'Something else');
    const next = await push(shared());
    expect(next.run.steps.map(({ id }) => id)).toEqual(['platform/redis']);
    expect(await runner.signedPost('/sync', { services: ['platform/grafana'] })).toMatchObject({
      status: 400,
    });

    await rename(join(stage.folder, 'kept'), join(repository.clone, 'platform/06.grafana'));
    await repository.commit('Bring grafana back');
    expect((await push(shared())).ran).toEqual(['platform/grafana']);
  });

  it('the number of a service, and a file that leaves another: both run, and nothing is removed', async () => {
    const { stage } = shared();
    const { repository } = stage;
    const before = await repository.head();
    await repository.move('platform/02.minio', 'platform/03.minio');
    await repository.move('platform/04.uptime-kuma/compose.yaml', 'docs/uptime-kuma.yaml');
    await repository.commit('Move things');
    const { run } = await push(shared(), 'failed');
    expect(run.steps).toMatchObject([
      { id: 'platform/minio', state: 'succeeded' },
      { id: 'platform/uptime-kuma', state: 'failed' },
    ]);
    await restore(shared(), before);
  });

  it('a service that was never synced, by removing it: reported as removed once', async () => {
    const { stage } = shared();
    const { repository } = stage;
    const before = await repository.head();
    await repository.remove(FOLDERS['platform/uptime-kuma'] ?? '');
    await repository.commit('Remove uptime-kuma');
    const { run, ran } = await push(shared());
    expect(run.steps).toMatchObject([{ id: 'platform/uptime-kuma', state: 'removed' }]);
    expect(ran).toEqual([]);
    await restore(shared(), before);
  });

  it('two folders of one service: an error that names both, while the others run', async () => {
    const { stage } = shared();
    const { repository } = stage;
    const before = await repository.head();
    await repository.write('platform/07.redis/deploy.py', 'raise SystemExit\n');
    const commit = await commitChange(repository, ['platform/dashy'], 'A second redis');
    const { run, ran } = await push(shared(), 'failed');
    expect(ran).toEqual(['platform/dashy']);
    expect(run.message).toBe('1/2 service(s) failed to sync');
    const redis = run.steps.find(({ id }) => id === 'platform/redis');
    expect(redis?.state).toBe('failed');
    expect(redis?.message).toContain('platform/01.redis');
    expect(redis?.message).toContain('platform/07.redis');
    await stage.github.statuses.waitFor({ sha: commit, state: 'failure' });
    await restore(shared(), before);
  });

  it('a name with two dots: what follows the first one is the service', async () => {
    const { stage } = shared();
    const { repository } = stage;
    const before = await repository.head();
    await writeGatedService(repository, 'platform/06.my.app', 'open');
    await repository.commit('Add my.app');
    const { run } = await push(shared(), 'final');
    expect(run.steps.map(({ id }) => id)).toEqual(['platform/my.app']);
    await restore(shared(), before);
  });

  it("a platform/__init__.py, which shadows Python's own module: the run says so", async () => {
    const { stage } = shared();
    const { repository } = stage;
    const before = await repository.head();
    await repository.write('platform/__init__.py', '');
    await commitChange(repository, ['platform/dashy'], 'Make platform a package');
    const { why, ran } = await push(shared(), 'final');
    expect(why.notes.join('\n')).toContain('platform/__init__.py');
    expect(why.notes.join('\n')).toContain('remove it');
    expect(ran.length).toBeLessThanOrEqual(1);
    await restore(shared(), before);
  });
});

describe('A push that changes no service', () => {
  // Of its own: such a push makes the server look at the branch a moment later, by itself.
  const shared = shareStage('nothing');

  it.each(NOTHING)('but $what: nothing to do, and no run', async ({ change }) => {
    const { stage, runner } = shared();
    const before = (await runner.runs()).length;
    await change(stage.repository);
    await stage.repository.commit('Change nothing');
    const { status, body } = await stage.push(runner);
    expect({ status, body }).toEqual({
      status: 200,
      body: { status: 'no_changes', message: 'No service files changed' },
    });
    expect(await runner.runs()).toHaveLength(before);
  });
});

describe('The order', () => {
  it('is wave after wave, and inside a wave four at once', async () => {
    const stage = await setTestStage('waves');
    const runner = await stage.start();
    const { repository, journal } = stage;
    const gates = ['a', 'b', 'c', 'd', 'e'];
    for (const gate of gates) await writeGatedService(repository, `platform/06.${gate}`, gate);
    await writeGatedService(repository, 'platform/07.last', 'last');
    await openGate(stage, 'last');
    await repository.commit('Six services in two waves');
    const runId = acceptedRun(await stage.push(runner));
    for (const gate of gates.slice(0, 4)) await journal.waitForStart(`platform/${gate}`);
    const begun = (await journal.read()).syncs;
    expect(begun.map(({ endedNs }) => endedNs)).toEqual([null, null, null, null]);
    for (const gate of gates) await openGate(stage, gate);
    await runner.waitForRun(runId, 'succeeded');
    const { syncs, overlaps } = await journal.read();
    expect(syncs).toHaveLength(6);
    const [last] = syncs.splice(5);
    expect(last?.service).toBe('platform/last');
    for (const { endedNs } of syncs) expect(endedNs).toBeLessThanOrEqual(last?.startedNs ?? 0n);
    expect(overlaps).toEqual([]);
  });

  it('is one by one with SYNC_CONCURRENCY=1, and still by waves, also for numbers of different length', async () => {
    const stage = await setTestStage('one-by-one');
    const runner = await stage.start({ environment: { SYNC_CONCURRENCY: '1' } });
    await appendLine(stage.repository, 'libs/console.py', '# All');
    await stage.repository.commit('Change what is shared');
    await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    const { syncs } = await stage.journal.read();
    expect(syncs.map(({ service }) => service)).toEqual(Object.keys(FOLDERS));
    for (const [index, { startedNs }] of syncs.entries()) {
      expect(syncs[index - 1]?.endedNs ?? 0n).toBeLessThanOrEqual(startedNs);
    }
  });
});

describe('F35: a repository full of traps', () => {
  it('is deployed from its oddly named branch, and nothing in it is executed', async () => {
    const stage = await setTestStage('traps');
    const { repository, journal } = stage;
    const branch = 'release/2026';
    await repository.git('checkout', '--quiet', '-b', branch);
    await repository.push();
    const runner = await stage.start({ environment: { GIT_BRANCH: branch } });
    const traps = [`a;touch${IFS}canary-35`, `--upload-pack=touch${IFS}canary-35`, `$(touch${IFS}canary-35)`];
    for (const trap of traps) {
      const delivery = await stage.push(runner, { refspec: `HEAD:refs/heads/${trap}` });
      expect(delivery.body).toEqual({ status: 'ignored', reason: `Not ${branch} branch` });
    }
    for (const folder of ['01.-revil', '01.a;touch canary-35', '01.$(touch canary-35)', '01.--help']) {
      await repository.write(`platform/${folder}/deploy.py`, 'open("canary-35", "w")\n');
      await repository.write(`platform/${folder}/tasks.py`, 'open("canary-35", "w")\n');
    }
    await repository.write('evil.sync/tasks.py', 'open("canary-35", "w")\n');
    const commit = await commitChange(
      repository,
      ['platform/redis'],
      '$(touch canary-35); --exec=touch canary-35',
    );
    await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    expect(await syncedAt(journal, commit)).toEqual(['platform/redis']);
    const odd = {
      ref: `refs/heads/${branch}`,
      before: '--output=canary-35',
      after: '--upload-pack=touch canary-35',
    };
    const answer = await runner.signedPost(
      '/webhook',
      { ...odd, commits: [{ added: ['libs/x'] }] },
      { headers: { 'x-github-event': 'push' } },
    );
    await runner.waitForRun(acceptedRun(answer), 'succeeded');
    const refused = ['-revil', 'platform/-revil', '--help', 'platform/a;touch canary-35', 'platform/redis\n'];
    for (const name of refused) {
      const { status } = await runner.signedPost('/sync', { services: ['platform/redis', name] });
      expect({ name, status }).toEqual({ name, status: 400 });
    }
    const here = [...(await readdir(stage.folder, { recursive: true })), ...(await readdir(PROJECT_ROOT))];
    const executed = here.filter((path) => path.split('/').at(-1) === 'canary-35');
    expect(executed).toEqual([]);
    expect((await journal.read()).syncs.map(({ service }) => service)).toEqual(['platform/redis']);
  });
});
