/** The services that a push runs, in tables over the example's twelve services. */

import { chmod, mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { pushAndInspect } from './support/inspected-push.ts';
import type { PlatformRepository } from './support/platform-repository.ts';
import { ALL_IDS, appendLine, commitChange, FOLDERS } from './support/platform-services.ts';
import { shareStage } from './support/shared-stage.ts';

interface Case {
  what: string;
  change(repository: PlatformRepository): Promise<unknown>;
  /** The services that run. */
  runs: string[];
  /** The services in the answer, if they differ from `runs`. */
  announces?: string[];
}

const CASES: Case[] = [
  {
    what: 'a compose file runs its service',
    change: (repository) => appendLine(repository, 'platform/01.redis/compose.yaml', '# More memory'),
    runs: ['platform/redis'],
  },
  {
    what: 'a file deep in the folder of a service runs this service, although the path contains the path of another service',
    change: (repository) => repository.write('platform/01.redis/platform/02.vault/deploy.py', 'no service\n'),
    runs: ['platform/redis'],
  },
  {
    what: 'a file in a service of the second layer runs that service, and not its namesake in the first layer',
    change: (repository) => repository.write(`${FOLDERS['finance_report/postgres']}/init.sql`, 'SELECT 1;\n'),
    runs: ['finance_report/postgres'],
  },
  {
    what: 'the shared libraries by a new file runs all twelve services',
    change: (repository) => repository.write('libs/deep/er/new.txt', 'new\n'),
    runs: ALL_IDS,
    announces: ['__all__'],
  },
  {
    what: 'the file of the tasks and one service runs all twelve services',
    change: async (repository) => {
      await appendLine(repository, 'tasks.py', '# Tidier');
      await appendLine(repository, 'platform/02.vault/compose.yaml', '# Sealed');
    },
    runs: ALL_IDS,
    announces: ['__all__', 'platform/vault'],
  },
  {
    what: 'two services by moving a file from one to the other runs both',
    change: (repository) => repository.move('platform/04.dashy/conf.yml', 'platform/02.minio/conf.yml'),
    runs: ['platform/dashy', 'platform/minio'],
  },
  {
    what: 'the mode of a file runs its service',
    change: (repository) => chmod(join(repository.clone, 'platform/05.signoz/compose.yaml'), 0o755),
    runs: ['platform/signoz'],
  },
  {
    what: 'two names that differ only in case runs their service',
    change: async (repository) => {
      await repository.write('platform/05.signoz/Notes', 'one\n');
      await repository.write('platform/05.signoz/notes', 'two\n');
    },
    runs: ['platform/signoz'],
  },
  {
    what: 'a link to a file outside of the repository runs the service of the link',
    change: (repository) => symlink('/etc/hostname', join(repository.clone, 'platform/05.signoz/link')),
    runs: ['platform/signoz'],
  },
  {
    what: 'a file and reverts the change looks at the service, but runs nothing',
    change: async (repository) => {
      await commitChange(repository, ['platform/redis'], 'Hasty');
      await repository.git('revert', '--no-edit', 'HEAD');
    },
    runs: [],
    announces: ['platform/redis'],
  },
  {
    what: 'services by merging a branch runs the services that the branch changed',
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
    what: 'nothing but links in place of a deploy.py and of a whole folder runs no service',
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
  { what: 'but only a README', change: (repository) => appendLine(repository, 'README.md', 'More.') },
  { what: 'and nothing else', change: async () => {} },
  {
    what: 'but only files beside the services',
    change: async (repository) => {
      await repository.write('platform/README.md', 'The platform.\n');
      await repository.write('platform/compose.yaml', 'services: {}\n');
      await repository.write('finance_report/01.fake/deploy.py', 'no service here\n');
    },
  },
  {
    what: 'but only a folder that is excluded',
    change: (repository) => appendLine(repository, 'bootstrap/05.iac-runner/compose.yaml', '# Note'),
  },
  {
    what: 'F35: but only folders whose names are not valid for services',
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

describe('A push that changes', () => {
  const shared = shareStage('selection');

  it.each(CASES)('$what', async ({ change, runs, announces = runs }) => {
    const { stage } = shared();
    await change(stage.repository);
    await stage.repository.commit('Change something');
    const pushed = await pushAndInspect(shared());
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
});

describe('A push that changes no service', () => {
  // These tests need a stage of their own: such a push makes the server look at the branch a moment later.
  const shared = shareStage('nothing');

  it.each(NOTHING)('$what has nothing to do, and makes no run', async ({ change }) => {
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
