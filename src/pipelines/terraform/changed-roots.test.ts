import { describe, expect, it } from 'vitest';
import { inRepository } from '../../git/git.ts';
import { createReader } from '../../git/read/repository-reader.ts';
import { createWorld } from '../../git/test-support.ts';
import { longestTurnMs } from '../../hostile-content.fixture.ts';
import { changedRoots, readSource } from './changed-roots.ts';

const ONE = 'resource "terraform_data" "one" {}\n';

/** Returns the roots that change when these paths change in a commit of these files. */
async function rootsOf(files: Record<string, string>, changed: string[]) {
  const { git, remote, commit } = await createWorld();
  const head = await commit(files);
  const repository = createReader({
    repository: inRepository(git, { gitDirectory: remote }),
    head: async () => head,
  });
  return (await changedRoots({ repository, head, changed })).roots;
}

async function directoriesOf(files: Record<string, string>, changed: string[]): Promise<string[]> {
  return (await rootsOf(files, changed)).map(({ directory }) => directory);
}

/** How the language writes a computed value, which must not be computed here. */
const OF = '$';

const PLATFORM = {
  'README.md': '',
  'envs/prod/main.tf':
    'terraform {\n  backend "s3" {}\n}\nmodule "net" {\n  source = "../../modules/net"\n}\n',
  'envs/prod/vars.tf': `locals {\n  a = file("../../vars/prod.tfvars")\n  b = file("${OF}{path.module}/../../vars/regions/${OF}{var.region}.yaml")\n}\n`,
  'envs/prod/templates/user-data.sh': '',
  'envs/test/main.tofu':
    'module "net" { \n source = "../../modules/net/"\n }\nmodule "gone" {\n\tsource = "../../modules/gone"\n}\n',
  'modules/net/data.tf': `locals {\n  a = jsondecode(file("${OF}{path.module}/../../shared/net.json"))\n}\n`,
  'modules/net/main.tf': `${ONE}module "dns" {\n  source = "./dns"\n}\n`,
  'modules/net/dns/main.tf': ONE,
  'modules/unused/main.tf': ONE,
  'service/main.tf.json': '{"module": {"x": {"source": "./part"}}}',
  'service/part/main.tf': ONE,
};

describe('The roots that a pull request changes', () => {
  it.each([
    ['a file of a root', ['envs/prod/main.tf'], ['envs/prod']],
    ['a file below a root', ['envs/prod/templates/user-data.sh'], ['envs/prod']],
    ['a module that both call', ['modules/net/main.tf'], ['envs/prod', 'envs/test']],
    ['a module that a module calls', ['modules/net/dns/main.tf'], ['envs/prod', 'envs/test']],
    ['a module that a root in JSON calls', ['service/part/main.tf'], ['service']],
    ['a module that nobody calls', ['modules/unused/main.tf'], []],
    ['what belongs to none', ['README.md', 'docs/x.md'], []],
    ['what was removed from a root', ['envs/test/gone.tf'], ['envs/test']],
    ['a file that a root names outside of itself', ['vars/prod.tfvars'], ['envs/prod']],
    ['a file whose name a root computes', ['vars/regions/eu.yaml'], ['envs/prod']],
    ['a file that a called module names', ['shared/net.json'], ['envs/prod', 'envs/test']],
    ['a module that was removed and is still called', ['modules/gone/main.tf'], ['envs/test']],
    ['a file beside those that are named', ['vars/other.tfvars'], []],
  ])('are found by %s', async (_what, changed, expected) => {
    expect(await directoriesOf(PLATFORM, changed)).toEqual(expected);
  });

  it('may be the top of the repository', async () => {
    expect(await directoriesOf({ 'main.tf': ONE, 'a/x': '' }, ['a/x'])).toEqual(['.']);
  });

  it('include those that call each other in a circle if one has a backend', async () => {
    const files = {
      'a/main.tf': 'terraform {\n  cloud {\n  }\n}\nmodule "b" {\n  source = "../b"\n}\n',
      'b/main.tf': 'module "a" {\n  source = "../a"\n}\n',
    };
    expect(await directoriesOf(files, ['b/main.tf'])).toEqual(['a']);
  });

  it('are those that the rules list, with their tools', async () => {
    const rules = [
      'terraform:',
      '  tool: tofu',
      '  version: "1.8.0"',
      '  roots:',
      '    - modules/unused',
      '    - path: envs/prod',
      '      tool: terraform',
      '    - not/there',
    ];
    const files = { ...PLATFORM, '.iac-runner.yaml': `${rules.join('\n')}\n` };
    expect(await rootsOf(files, ['modules/unused/main.tf', 'modules/net/main.tf'])).toEqual([
      { directory: 'envs/prod', tool: 'terraform', toolVersion: null },
      { directory: 'modules/unused', tool: 'tofu', toolVersion: '1.8.0' },
    ]);
  });

  describe('come with a remark', () => {
    async function remarksOf(before: Record<string, string>, after: Record<string, string | null>) {
      const { git, remote, commit } = await createWorld();
      const base = await commit(before);
      const head = await commit(after);
      const repository = createReader({
        repository: inRepository(git, { gitDirectory: remote }),
        head: async () => head,
      });
      return changedRoots({ repository, head, base, changed: Object.keys(after) });
    }

    it('about a root that is removed', async () => {
      const files = { 'a/main.tf': ONE, 'b/main.tf': ONE, 'b/vars.tf': ONE };
      const { roots, remarks } = await remarksOf(files, { 'b/main.tf': null, 'b/vars.tf': null });
      expect([roots, remarks]).toEqual([
        [],
        ['The root b is removed: what it manages stays, unless it is destroyed before'],
      ]);
    });

    it('about a listed root that does not exist, once', async () => {
      const rules = 'terraform:\n  roots: [a, misspelt, gone]\n';
      const files = { 'a/main.tf': ONE, 'gone/main.tf': ONE, '.iac-runner.yaml': rules };
      const { roots, remarks } = await remarksOf(files, { 'gone/main.tf': null, 'a/more.tf': ONE });
      expect(roots.map(({ directory }) => directory)).toEqual(['a']);
      expect(remarks).toEqual([
        'The root gone is removed: what it manages stays, unless it is destroyed before',
        'terraform.roots names misspelt, which has no .tf or .tofu file',
      ]);
    });

    it('about a file of variables that no root names', async () => {
      const { roots, remarks } = await remarksOf({ 'a/main.tf': ONE }, { 'vars/prod.tfvars': 'a = 1\n' });
      expect([roots, remarks]).toEqual([[], ['vars/prod.tfvars is changed, and no root is known to use it']]);
    });

    it('about ten things at most', async () => {
      const after = Object.fromEntries(Array.from({ length: 14 }, (_, i) => [`vars/${i}.tfvars`, '']));
      const { remarks } = await remarksOf({ 'a/main.tf': ONE }, after);
      expect([remarks.length, remarks.at(-1)]).toEqual([11, '4 more of these are not listed']);
    });
  });

  it.each([
    '\n',
    ' ',
    '\t',
    '{',
    '{ ',
    ',',
    'source',
    'source=\n',
    '../',
    '"../',
    '../a ',
    'backend ',
    'cloud\n',
  ])('are found within 200 ms in a file full of %j', async (piece) => {
    const folder = { path: 'a', calls: [], reads: new Set<string>(), hasBackend: false };
    const text = piece.repeat(200_000 / piece.length);
    expect(await longestTurnMs(() => readSource(folder, text))).toBeLessThan(200);
  });

  it('are not found if the rules have a mistake', async () => {
    const files = { 'main.tf': ONE, '.iac-runner.yaml': 'terraform:\n  roots: ["../x"]\n' };
    await expect(rootsOf(files, ['main.tf'])).rejects.toThrow('terraform.roots.0');
  });

  it('F38: are never found through a link', async () => {
    const { git, remote, source, shell } = await createWorld();
    await shell(['checkout', '-q', '--orphan', 'x']);
    const { symlink, mkdir } = await import('node:fs/promises');
    await mkdir(`${source}/a`);
    await symlink('/etc/passwd', `${source}/a/main.tf`);
    await shell(['add', '-A']);
    await shell(['commit', '-qm', 'A link']);
    await shell(['push', '-q', 'origin', 'HEAD:refs/heads/x']);
    const head = await shell(['rev-parse', 'HEAD']);
    const repository = createReader({
      repository: inRepository(git, { gitDirectory: remote }),
      head: async () => head,
    });
    const { roots } = await changedRoots({ repository, head, changed: ['a/main.tf'] });
    expect(roots).toEqual([]);
  });
});
