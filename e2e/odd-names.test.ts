/** Odd names of files, folders and branches are never confused and never executed. */

import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { pushAndInspect } from './support/inspected-push.ts';
import { commitChange, FOLDERS, syncedAt } from './support/platform-services.ts';
import { PROJECT_ROOT } from './support/project-root.ts';
import { acceptedRun } from './support/run-actions.ts';
import { shareStage } from './support/shared-stage.ts';
import { setTestStage } from './support/test-stage.ts';

/** A shell expands this to a space, where a name cannot contain one. */
const IFS = '$'.concat('{IFS}');

describe('A push of', () => {
  const shared = shareStage('odd-names');

  it('F40: files with any name runs exactly their services, and shows each path unchanged', async () => {
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
    const { ran, announced, why } = await pushAndInspect(shared());
    const ids = Object.keys(names).toSorted();
    expect({ ran, announced }).toEqual({ ran: ids, announced: ids });
    for (const id of ids) {
      const { paths } = why.services.find(({ service }) => service === id) ?? { paths: [] };
      expect(paths).toEqual([`${FOLDERS[id]}/${names[id]}`]);
    }
  });

  it('F40: a file whose name is not UTF-8 runs its service', async () => {
    const { stage } = shared();
    const folder = Buffer.from(join(stage.repository.clone, 'platform/05.signoz/caf'));
    await writeFile(Buffer.concat([folder, Buffer.from([0xe9])]), 'latin-1\n');
    await stage.repository.commit('A name in Latin-1');
    expect((await pushAndInspect(shared())).ran).toEqual(['platform/signoz']);
  });

  it('F37: a submodule that is added and updated runs its service, and nothing is cloned', async () => {
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
      expect((await pushAndInspect(shared())).ran).toEqual(['platform/redis']);
    }
    const files = await readdir(stage.folder, { recursive: true });
    expect(files.filter((path) => path.includes('canary-37'))).toEqual([]);
    await repository.remove('platform/01.redis/vendor');
    await repository.remove('.gitmodules');
    await repository.commit('No submodule');
    expect((await pushAndInspect(shared())).ran).toEqual(['platform/redis']);
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
