import { describe, expect, it } from 'vitest';
import { createReader } from '../../git/repository-reader.ts';
import { createWorld } from '../../git/test-support.ts';
import { changedRoots } from './changed-roots.ts';

const ONE = 'resource "terraform_data" "one" {}\n';

/** The roots that a commit of these files changes when these paths are changed in it. */
async function rootsOf(files: Record<string, string>, changed: string[]) {
  const { git, remote, commit } = await createWorld();
  const head = await commit(files);
  const repository = createReader({ git, directory: remote, head: async () => head });
  return changedRoots({ repository, head, changed });
}

async function directoriesOf(files: Record<string, string>, changed: string[]): Promise<string[]> {
  return (await rootsOf(files, changed)).map(({ directory }) => directory);
}

const PLATFORM = {
  'README.md': '',
  'envs/prod/main.tf':
    'terraform {\n  backend "s3" {}\n}\nmodule "net" {\n  source = "../../modules/net"\n}\n',
  'envs/prod/templates/user-data.sh': '',
  'envs/test/main.tofu': 'module "net" { \n source = "../../modules/net/"\n }\n',
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
  ])('are found by %s', async (_what, changed, expected) => {
    expect(await directoriesOf(PLATFORM, changed)).toEqual(expected);
  });

  it('may be the top of the repository', async () => {
    expect(await directoriesOf({ 'main.tf': ONE, 'a/x': '' }, ['a/x'])).toEqual(['.']);
  });

  it('are those that call each other in a circle, too, as long as one has a backend', async () => {
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

  it('cannot be told by rules with a mistake', async () => {
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
    const repository = createReader({ git, directory: remote, head: async () => head });
    expect(await changedRoots({ repository, head, changed: ['a/main.tf'] })).toEqual([]);
  });
});
