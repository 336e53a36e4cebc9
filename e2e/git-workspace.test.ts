/**
 * The checkout, the mirror and the lock between runs: damage by tasks, crashes and neighbours is repaired without
 * help.
 */

import { mkdir, readdir, readFile, rm, stat, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { git } from './support/git.ts';
import { writeShellService } from './support/hand-made-service.ts';
import { appendLine } from './support/platform-services.ts';
import { pushRun, readLog } from './support/pushed-run.ts';
import { shareStage } from './support/shared-stage.ts';
import type { Stage } from './support/stage.ts';

/** A service that is quick to change and whose task is one of the example's. */
const PROBE = 'platform/04.dashy/conf.yml';
const PROBE_SERVICE = 'platform/dashy';

const workspaceOf = (stage: Stage): string => join(stage.folder, 'workspace/platform');
const mirrorOf = (stage: Stage): string => join(stage.folder, 'data/mirrors/platform.git');

/** The differences between the checkout and the commit of the clone, as git lists them. Ignored files do not count. */
function differences(stage: Stage): Promise<string> {
  const { clone } = stage.repository;
  const places = [`--git-dir=${join(clone, '.git')}`, `--work-tree=${workspaceOf(stage)}`];
  return git(clone, [...places, 'status', '--porcelain', '--untracked-files=all']);
}

describe('The workspace and the mirror', () => {
  const scene = shareStage('git-workspace', () => ({
    TASK_ENV: 'ENV,INTERNAL_DOMAIN,IAC_JOURNAL,IAC_EXAMPLE_STATE',
  }));

  /** Pushes a change, which must be synced, with the whole checkout correct. */
  async function probe(): Promise<void> {
    const { stage, runner } = scene();
    await appendLine(stage.repository, PROBE, `# ${Date.now()}`);
    const { commit, runId } = await pushRun(stage, runner);
    const run = await runner.waitForRun(runId, 'succeeded');
    expect(run).toMatchObject({ revision: commit, message: '1 service(s) synced successfully', attempt: 1 });
    expect((await stage.journal.read()).syncs.at(-1)).toMatchObject({ service: PROBE_SERVICE, commit });
    expect(await differences(stage)).toBe('');
  }

  it('keep a virtual environment that git ignores, and nothing else that was left in the checkout', async () => {
    const { stage } = scene();
    await probe();
    const workspace = workspaceOf(stage);
    await mkdir(join(workspace, '.venv/bin'), { recursive: true });
    await writeFile(join(workspace, '.venv/bin/invoke'), '#!/bin/sh\n');
    await mkdir(join(workspace, 'platform/04.dashy/.venv'), { recursive: true });
    await writeFile(join(workspace, 'platform/04.dashy/.env'), 'A=1\n');
    await writeFile(join(workspace, 'junk.txt'), 'junk\n');
    await mkdir(join(workspace, 'platform/09.ghost'), { recursive: true });
    await writeFile(join(workspace, 'platform/09.ghost/deploy.py'), 'print("boo")\n');
    await git(workspace, ['init', '--quiet', 'platform/nested']);
    await writeFile(join(workspace, 'platform/nested/file'), 'nested\n');
    await writeFile(join(workspace, 'tasks.py'), 'raise SystemExit("changed by a task")\n');
    await rm(join(workspace, 'libs/journal.py'));
    await probe();
    expect(await readFile(join(workspace, '.venv/bin/invoke'), 'utf8')).toBe('#!/bin/sh\n');
    expect(await readFile(join(workspace, 'platform/04.dashy/.env'), 'utf8')).toBe('A=1\n');
  });

  it('F40c: run no program that a task planted in their git directories', async () => {
    const { stage, runner } = scene();
    // The files are tracked, so that a planted filter or diff driver would run on them.
    await stage.repository.write('platform/06.planter/.gitattributes', '* filter=planted diff=planted\n');
    await writeShellService(stage.repository, 'platform/06.planter', PLANT);
    const planted = await pushRun(stage, runner, 'Plant');
    await runner.waitForRun(planted.runId, 'succeeded');
    // As a control, an unguarded git in the same folder does run the planted programs.
    expect(await readLog(runner, planted.runId, 'platform/planter')).toContain(
      'an unguarded git ran: post-checkout',
    );
    await appendLine(stage.repository, PROBE, '# changed after the planting');
    await stage.repository.remove('platform/06.planter/sync.sh');
    await writeShellService(stage.repository, 'platform/06.planter', 'ls "$IAC_EXAMPLE_STATE"/canary 2>&1');
    const next = await pushRun(stage, runner, 'Look for the effect of the planted files');
    await runner.waitForRun(next.runId, 'failed');
    expect(await readLog(runner, next.runId, 'platform/planter')).toContain('No such file');
    await stage.repository.remove('platform/06.planter');
    const last = await pushRun(stage, runner, 'Remove it');
    await runner.waitForRun(last.runId, 'succeeded');
    await probe();
    expect(await readdir(join(stage.folder, 'state'))).not.toContain('canary');
  });

  const DAMAGES: Record<string, (stage: Stage) => Promise<void>> = {
    'F33: leftover lock files in the workspace': async (stage) => {
      for (const name of ['index.lock', 'HEAD.lock', 'config.lock', 'packed-refs.lock']) {
        await writeFile(join(workspaceOf(stage), '.git', name), '');
      }
    },
    'F33: leftover lock files and incomplete packs in the mirror': async (stage) => {
      const mirror = mirrorOf(stage);
      const locks = ['index.lock', 'HEAD.lock', 'config.lock', 'packed-refs.lock', 'shallow.lock'];
      for (const name of [...locks, 'refs/heads/main.lock']) await writeFile(join(mirror, name), '');
      for (const name of ['tmp_pack_a1B2c3', 'tmp_idx_a1B2c3', 'pack-0000.lock']) {
        await writeFile(join(mirror, 'objects/pack', name), 'half');
      }
    },
    'F33: an incomplete clone in place of the mirror, and another one beside it': async (stage) => {
      const mirror = mirrorOf(stage);
      await rm(mirror, { recursive: true });
      for (const directory of [mirror, `${mirror}.new-a1B2c3`]) {
        await mkdir(join(directory, 'objects/pack'), { recursive: true });
        await writeFile(join(directory, 'objects/pack/tmp_pack_a1B2c3'), 'PACK');
      }
    },
    'F33: no mirror at all, and the lock of a dead process beside its place': async (stage) => {
      await rm(mirrorOf(stage), { recursive: true });
      await mkdir(`${mirrorOf(stage)}.lock`);
      const minuteAgo = Date.now() / 1000 - 60;
      await utimes(`${mirrorOf(stage)}.lock`, minuteAgo, minuteAgo);
    },
    'F33: a workspace whose .git is an empty folder': async (stage) => {
      await rm(join(workspaceOf(stage), '.git'), { recursive: true });
      await mkdir(join(workspaceOf(stage), '.git'));
    },
    'F34: truncated packs': async (stage) => {
      const packs = join(mirrorOf(stage), 'objects/pack');
      for (const name of await readdir(packs)) {
        if (name.endsWith('.pack')) await truncate(join(packs, name), 40);
      }
    },
    'F34: a zeroed branch in the mirror and a zeroed HEAD in the workspace': async (stage) => {
      await writeFile(join(mirrorOf(stage), 'refs/heads/main'), Buffer.alloc(41));
      await writeFile(join(workspaceOf(stage), '.git/HEAD'), Buffer.alloc(41));
    },
    'F34: alternates that point to a missing folder': async (stage) => {
      for (const directory of [mirrorOf(stage), join(workspaceOf(stage), '.git')]) {
        await mkdir(join(directory, 'objects/info'), { recursive: true });
        await writeFile(join(directory, 'objects/info/alternates'), '/nonexistent/objects\n');
      }
    },
    'F40c: an index that hides a changed file': async (stage) => {
      const workspace = workspaceOf(stage);
      await git(workspace, ['update-index', '--assume-unchanged', 'tasks.py']);
      await git(workspace, ['update-index', '--skip-worktree', 'libs/deployer.py']);
      await writeFile(join(workspace, 'tasks.py'), 'raise SystemExit("hidden")\n');
      await writeFile(join(workspace, 'libs/deployer.py'), 'raise SystemExit("hidden")\n');
    },
    'F38: a .git and a tracked folder that are links to somewhere else': async (stage) => {
      const workspace = workspaceOf(stage);
      const elsewhere = join(stage.folder, 'elsewhere');
      await mkdir(join(elsewhere, 'git'), { recursive: true });
      await writeFile(join(elsewhere, 'git/HEAD'), 'not ours\n');
      await writeFile(join(elsewhere, 'compose.yaml'), 'not ours\n');
      await rm(join(workspace, '.git'), { recursive: true });
      await symlink(join(elsewhere, 'git'), join(workspace, '.git'));
      await rm(join(workspace, 'platform/04.dashy'), { recursive: true });
      await symlink(elsewhere, join(workspace, 'platform/04.dashy'));
    },
  };

  it.each(Object.entries(DAMAGES))('survive %s: the next push is synced all the same', async (_, damage) => {
    const { stage } = scene();
    await probe();
    await damage(stage);
    await probe();
    const mirrors = await readdir(join(stage.folder, 'data/mirrors'));
    expect(mirrors).toEqual(['platform.git']);
    const left = (await readdir(mirrorOf(stage), { recursive: true })).filter((name) =>
      /\.lock$|tmp_/.test(name),
    );
    expect(left).toEqual([]);
    const elsewhere = join(stage.folder, 'elsewhere');
    if (await stat(elsewhere).catch(() => null)) {
      expect(await readdir(elsewhere, { recursive: true })).toEqual(['compose.yaml', 'git', 'git/HEAD']);
      expect(await readFile(join(elsewhere, 'compose.yaml'), 'utf8')).toBe('not ours\n');
    }
  });
});

/**
 * A shell script that plants every program that git could be made to run, in the checkout and in the mirror that
 * its objects come from.
 */
const PLANT = `
payload="$IAC_EXAMPLE_STATE/payload"
canary="$IAC_EXAMPLE_STATE/canary"
printf '#!/bin/sh\\necho "\${0##*/} $*" >> "%s"\\ncat > /dev/null\\n' "$canary" > "$payload"
chmod +x "$payload"
mirror=$(dirname "$(cat .git/objects/info/alternates)")
for repository in "$PWD/.git" "$mirror"; do
  mkdir -p "$repository/hooks" "$repository/info"
  for hook in post-checkout post-merge post-index-change reference-transaction pre-auto-gc fsmonitor-watchman; do
    cp "$payload" "$repository/hooks/$hook"
  done
  set_config() { git config --file "$repository/config" "$1" "$2"; }
  set_config core.hooksPath "$repository/hooks"
  for key in core.fsmonitor core.sshCommand core.askPass core.gitProxy core.pager core.editor \\
    core.alternateRefsCommand gpg.program diff.external diff.planted.textconv diff.planted.command \\
    filter.planted.smudge filter.planted.clean filter.planted.process uploadpack.packObjectsHook; do
    set_config "$key" "$payload"
  done
  set_config filter.planted.required true
  set_config log.showSignature true
  set_config credential.helper "!$payload"
  set_config alias.clean "!$payload"
  set_config url.ext::sh.insteadOf /
  set_config protocol.ext.allow always
  printf '* filter=planted diff=planted\\n' > "$repository/info/attributes"
done
git -c core.fsmonitor=false -c filter.planted.required=false -c filter.planted.process= checkout --quiet --force --detach HEAD
echo "an unguarded git ran: $(grep -o post-checkout "$canary" | head -n 1)"
rm -f "$canary"
`;
