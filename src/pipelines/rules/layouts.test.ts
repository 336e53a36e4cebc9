import { describe, expect, it } from 'vitest';
import type { TreeEntry } from '../../git/own/mirror.ts';
import { discoverServices } from './discover-services.ts';
import { describeProblem, parseRulesFile } from './rules-file.ts';
import { DEFAULT_RULES, type Rules } from './service-rules.ts';
import { commandOf, cwdOf, verifyOf } from './service-texts.ts';
import { snapshotOf } from './snapshot.ts';

function rulesOf(text: string): Rules {
  const parsed = parseRulesFile(text);
  if (!parsed.ok) throw new Error(parsed.problems.map((problem) => describeProblem('', problem)).join('\n'));
  return parsed.rules;
}

function problemsOf(text: string): string[] {
  const parsed = parseRulesFile(text);
  return parsed.ok ? [] : parsed.problems.map((problem) => describeProblem('file', problem));
}

const RUN = 'run: [make]';

function idsOf(services: string, paths: string[]): string[] {
  return discoverServices(paths, rulesOf(`services:\n${services}`)).services.map(({ id }) => id);
}

/** A file with one rule. */
const rule = (fields: string, match = 'a/{service}/x') =>
  `services:\n  - match: "${match}"\n${fields
    .split('\n')
    .map((line) => `    ${line}\n`)
    .join('')}`;

describe('match', () => {
  it.each([
    ['stacks/{service}/docker-compose.yml', ['stacks/web/docker-compose.yml'], ['stacks/web']],
    ['services/{team}/{service}/Makefile', ['services/core/db/Makefile'], ['services/core/db']],
    ['apps/{nn}-{service}/deploy.sh', ['apps/01-web/deploy.sh', 'apps/web/deploy.sh'], ['apps/web']],
    ['**/{service}/Chart.yaml', ['web/Chart.yaml', 'a/b/db/Chart.yaml'], ['a/b/db', 'web']],
    ['*/{service}/x', ['Big Team/web/x'], ['Big-Team/web']],
    ['{service}.yml', ['web.yml'], ['web']],
    ['1_a/02.{service}/03-b/x', ['1_a/02.web/03-b/x'], ['a/web/b']],
  ])('%s gives the default ids', (match, paths, ids) => {
    expect(idsOf(`  - { match: "${match}", ${RUN} }\n`, paths)).toEqual(ids);
  });

  it('makes a service of each file, if the name is in the name of the file', () => {
    const rule = `  - { match: "playbooks/{service}.yml", id: "{service}", ${RUN} }\n`;
    expect(idsOf(rule, ['playbooks/db.yml', 'playbooks/web.yml'])).toEqual(['db', 'web']);
  });

  it('says what is wrong if several files in one folder have the default id', () => {
    const rules = rulesOf(`services:\n  - { match: "playbooks/{service}.yml", ${RUN} }\n`);
    expect(discoverServices(['playbooks/db.yml', 'playbooks/web.yml'], rules).duplicates).toEqual([
      { id: 'playbooks', folders: ['playbooks', 'playbooks'] },
    ]);
  });

  it('uses the first rule that matches a file', () => {
    const rules = rulesOf(`services:
  - { match: "apps/{service}/deploy.sh", id: "first-{service}", ${RUN} }
  - { match: "**/{service}/deploy.sh", id: "second-{service}", ${RUN} }
`);
    const { services } = discoverServices(['apps/web/deploy.sh', 'x/web/deploy.sh'], rules);
    expect(services.map(({ id }) => id)).toEqual(['first-web', 'second-web']);
  });

  it('takes the wave from the rule, or from {nn}, or 0', () => {
    const waves = (rule: string, path: string) =>
      discoverServices([path], rulesOf(`services:\n  - { ${rule}, ${RUN} }\n`)).services.map(
        ({ wave }) => wave,
      );
    expect(waves('match: "a/{nn}-{service}/x"', 'a/07-web/x')).toEqual([7]);
    expect(waves('match: "a/{nn}-{service}/x", wave: 2', 'a/07-web/x')).toEqual([2]);
    expect(waves('match: "a/{nn}-{service}/x", wave: "{nn}"', 'a/07-web/x')).toEqual([7]);
    expect(waves('match: "a/{service}/x"', 'a/web/x')).toEqual([0]);
  });
});

describe('the placeholders', () => {
  it('are replaced inside one element, once', () => {
    const rules = rulesOf(`services:
  - match: "{team}/*/{service}/x"
    run: [make, -C, "{folder}", "deploy-{service}", "{team}/{id}@{revision}", "{}", "{environment}"]
    cwd: "{folder}"
    verify: [curl, "https://{service}.example.com/health"]
`);
    const [service] = discoverServices(['core/a {revision}; rm/web/x'], rules).services;
    if (!service) throw new Error('There is no service.');
    const texts = { ...service, revision: 'c1' };
    const folder = 'core/a {revision}; rm/web';
    expect(commandOf(texts, ['invoke'])).toEqual([
      'make',
      '-C',
      folder,
      'deploy-web',
      'core/core/a-revision-rm/web@c1',
      '{}',
      '',
    ]);
    expect(cwdOf(texts)).toBe(folder);
    expect(verifyOf(texts)).toEqual(['curl', 'https://web.example.com/health']);
  });
});

describe('a mistake in a rule', () => {
  it.each([
    [rule('run: [make, "{servce}"]'), /^file line 3, services\.0\.run\.1: unknown placeholder \{servce\}/],
    [rule('run: [make]\ncwd: "{nn}"'), /^file line 4, services\.0\.cwd: unknown placeholder \{nn\}/],
    [rule('run: [make]\nverify: [curl, "{x}"]'), /line 4, services\.0\.verify\.1: unknown placeholder/],
    [rule('run: [make]\ninputs: ["{team}/**"]'), /line 4, services\.0\.inputs\.0: unknown placeholder/],
    [rule('run: [make]\nconfig: ["{Folder}/a"]'), /line 4, services\.0\.config\.0: unknown placeholder/],
    [rule('run: [make]\nid: "{folder}"'), /line 4, services\.0\.id: unknown placeholder \{folder\}/],
    [rule('run: [make]\ntask: x'), /line 3, services\.0\.run: expected either `task` or `run`/],
    [rule('cwd: .'), /line 2, services\.0: expected either `task` or `run`/],
    [rule('run: make'), /line 3, services\.0\.run: /],
    [rule('run: []'), /line 3, services\.0\.run: /],
    [rule('run: [make]\nwave: first'), /line 4, services\.0\.wave: expected a whole number/],
    [rule('run: [make]\nwave: "{nn}"'), /line 4, services\.0\.wave: expected \{nn\} in `match`/],
    [rule('run: [make]\ncwd: ../x'), /line 4, services\.0\.cwd: expected a path in the repository/],
    [rule('run: [make]\nconfig: [/etc/passwd]'), /line 4, services\.0\.config\.0: expected a path/],
    [rule('run: [make]\ninputs: ["!a"]'), /line 4, services\.0\.inputs\.0: the first pattern/],
    [rule('run: [make]', 'a/x'), /line 2, services\.0\.match: expected \{service\}/],
    [rule('run: [make]', 'a/{service}/{service}'), /services\.0\.match: expected each placeholder once/],
    [rule('run: [make]', 'a/{folder}/{service}'), /\{folder\} has a meaning of its own/],
    [rule('run: [make]', 'a/{nn}{service}/x'), /expected a text between two placeholders/],
    [rule('run: [make]', 'a/*{service}/x'), /expected a text between two placeholders/],
    [rule('run: [make]', 'a**/{service}/x'), /\*\* stands for folders/],
    [rule('run: [make]', 'a/{a}-{b}-{c}-{service}/x'), /at most 2 wildcards/],
    [rule('run: [make]', '/a/{service}/x'), /services\.0\.match: expected a path in the repository/],
    [rule('run: [make]', 'a/{serv ice}/{service}'), /expected placeholders such as/],
    ['ignore: ["!a"]\n', /^file line 1, ignore\.0: the first pattern/],
    ['shared: [{ path: "a**", services: all }]\n', /^file line 1, shared\.0/],
    [`${rule('run: [make]')}exclude: [b/web]\n`, /line 4, exclude\.0: no rule makes a service b\/web/],
    [
      `${rule('run: [make]')}needs: { a/web: [a/Web] }\n`,
      /line 4, needs\.a\/web\.0: no rule makes a service a\/Web/,
    ],
  ])('%j is an error with line and field', (text, expected) => {
    expect(problemsOf(text)[0]).toMatch(expected);
  });

  it.each([
    ['a/{service}/x', 'a/web'],
    ['**/{service}/x', 'web'],
    ['**/{service}/x', 'a/b/web'],
    ['a/**/x-{service}.yml', 'a'],
    ['01.a/{nn}-{service}/x', 'a/web'],
    ['a/*/{service}/x', 'a/b/web'],
    ['{team}/x/{service}/y', 'Core/x/web'],
    ['{service}.yml', 'web'],
  ])('%s can produce the id %s', (match, id) => {
    expect(problemsOf(`${rule('run: [make]', match)}exclude: [${id}]\n`)).toEqual([]);
  });
});

const FILE = '100644';

/** A commit in which each file has the given content, and each folder a tree id made of its contents. */
function snapshotWith(rules: Rules, files: Record<string, string>) {
  const entries: TreeEntry[] = [];
  const folders = new Map<string, string>();
  for (const [path, content] of Object.entries(files)) {
    const mode = content.startsWith('->') ? '120000' : content.startsWith('@') ? '160000' : FILE;
    entries.push({ mode, type: mode === '160000' ? 'commit' : 'blob', id: content, path });
    const segments = path.split('/').slice(0, -1);
    for (const [index] of segments.entries()) {
      const folder = segments.slice(0, index + 1).join('/');
      folders.set(folder, `${folders.get(folder) ?? ''}|${path}=${content}`);
    }
  }
  for (const [path, id] of folders) entries.push({ mode: '040000', type: 'tree', id, path });
  const links = new Map(
    entries.flatMap(({ mode, path, id }) =>
      mode === '120000' ? [[path, files[id.slice(2)] ?? ''] as const] : [],
    ),
  );
  return snapshotOf('c', entries, rules, links);
}

/** Which services differ between two commits. */
function changed(rules: Rules, before: Record<string, string>, change: Record<string, string>): string[] {
  const [one, other] = [snapshotWith(rules, before), snapshotWith(rules, { ...before, ...change })];
  return other.services
    .filter(({ id, tree, shared }) => {
      const was = one.byId.get(id);
      return was?.tree !== tree || was.shared !== shared;
    })
    .map(({ id }) => id);
}

describe('inputs, ignore and shared', () => {
  const files = {
    'stacks/web/docker-compose.yml': '1',
    'stacks/web/README.md': '1',
    'stacks/db/docker-compose.yml': '1',
    'libs/a.py': '1',
    'libs/db/b.py': '1',
    'docs/x': '1',
    'common/env': '1',
  };
  const plain = `services:\n  - { match: "stacks/{service}/docker-compose.yml", id: "{service}", ${RUN} }\n`;
  const shared = (text: string) => rulesOf(`${plain}${text}`);

  it('by default a service depends on its folder', () => {
    expect(changed(rulesOf(plain), files, { 'stacks/web/x/y': '1' })).toEqual(['web']);
    expect(changed(rulesOf(plain), files, { 'docs/x': '2', README: '1' })).toEqual([]);
  });

  it('inputs name other files, and leave files out', () => {
    const rules = rulesOf(`services:
  - match: "stacks/{service}/docker-compose.yml"
    id: "{service}"
    ${RUN}
    inputs: ["{folder}/**", "!**/*.md", common/*]
`);
    expect(changed(rules, files, { 'stacks/web/README.md': '2' })).toEqual([]);
    expect(changed(rules, files, { 'stacks/web/x': '2' })).toEqual(['web']);
    expect(changed(rules, files, { 'common/env': '2' })).toEqual(['db', 'web']);
    expect(changed(rules, files, { 'common/link': '->common/env' })).toEqual(['db', 'web']);
    expect(changed(rules, files, { 'stacks/web/sub': '@1' })).toEqual(['web']);
  });

  it('ignored files never count, neither in folders nor in inputs nor as shared files', () => {
    const rules = shared('ignore: ["**/*.md", docs]\nshared: [libs, docs]\n');
    const change = { 'stacks/web/README.md': '2', 'libs/README.md': '1', 'docs/x': '2' };
    expect(changed(rules, files, change)).toEqual([]);
    expect(changed(rules, files, { 'stacks/db/x': '1' })).toEqual(['db']);
  });

  it('ignoring files that a folder does not have changes nothing', () => {
    const [one, other] = [
      snapshotWith(rulesOf(plain), files),
      snapshotWith(shared('ignore: ["*.md"]\n'), files),
    ];
    expect(other.services.map(({ tree }) => tree)).toEqual(one.services.map(({ tree }) => tree));
  });

  it('of several shared paths the one with the longest plain beginning counts, and equal ones add up', () => {
    const rules = shared(`shared:
  - { path: "libs/**", services: all }
  - { path: "libs/db/**", services: [db] }
  - { path: "**/env", services: [db] }
  - { path: "*/env", services: [web] }
`);
    expect(changed(rules, files, { 'libs/a.py': '2' })).toEqual(['db', 'web']);
    expect(changed(rules, files, { 'libs/db/b.py': '2' })).toEqual(['db']);
    expect(changed(rules, files, { 'common/env': '2' })).toEqual(['db', 'web']);
  });

  it('a service at the root depends on all files', () => {
    const rules = rulesOf(`services:\n  - { match: "{service}.tf", ${RUN} }\n`);
    expect(changed(rules, { 'main.tf': '1' }, { 'a/b': '1' })).toEqual(['main']);
  });
});

describe('config', () => {
  it('names several files, in order, and reads links', () => {
    const rules = rulesOf(`services:
  - match: "stacks/{service}/x"
    ${RUN}
    config: ["{folder}/x", "common/{service}.env", missing]
`);
    const files = { 'stacks/web/x': '1', 'common/web.env': '->other', other: '2' };
    expect(snapshotWith(rules, files).services[0]?.config).toEqual(['1', '2', null]);
  });
});

describe('the texts of a rule', () => {
  const digestOf = (services: string) =>
    discoverServices(
      ['platform/01.web/deploy.py'],
      rulesOf(`services:\n  - match: platform/{nn}.{service}/deploy.py\n${services}`),
    ).services[0]?.texts;
  const builtIn = discoverServices(['platform/01.web/deploy.py'], DEFAULT_RULES).services[0]?.texts;

  it('are the same for a built-in rule and its copy in the file', () => {
    expect(digestOf('    id: platform/{service}\n    task: "{service}.sync"\n')).toBe(builtIn);
    expect(
      digestOf('    id: platform/{service}\n    task: "{service}.sync"\n    cwd: .\n    wave: "{nn}"\n'),
    ).toBe(builtIn);
  });

  it('differ by command, folder, check, inputs, config and secrets', () => {
    const task = '    task: "{service}.sync"\n';
    const digests = [
      task,
      '    task: "{service}.deploy"\n',
      '    run: [web.sync]\n',
      `${task}    cwd: "{folder}"\n`,
      `${task}    verify: ["true"]\n`,
      `${task}    verify: ["true", "{revision}"]\n`,
      `${task}    inputs: ["{folder}/**"]\n`,
      `${task}    config: ["{folder}/compose.yaml"]\n`,
      `${task}    secrets: []\n`,
    ].map(digestOf);
    expect(new Set(digests).size).toBe(digests.length);
  });
});

describe('A rules file of a stranger', () => {
  const name = 'a'.repeat(250);
  it.each([
    [rule('run: [make]', `${'**/'.repeat(30)}{service}/f`), `${'a/'.repeat(60)}B`],
    [rule('run: [make]\nid: "{a}-{service}"', '{a}/{service}/f'), `${name}-`],
    [rule('run: [make]', '{a}x{service}/{b}x{c}/f'), `${'x'.repeat(250)}/${'x'.repeat(249)}!`],
  ])('does not take long to compare with an id: %s', (text, id) => {
    const startedAt = performance.now();
    expect(problemsOf(`${text}exclude: ["${id}"]\n`)).not.toEqual([]);
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });

  it.each([
    [rule('run: [make]\nid: "{service}-{service}"'), /services\.0\.id: expected each placeholder once/],
    [rule(`run: [make${', "{folder}"'.repeat(101)}]`), /at most 100 placeholders in one rule/],
    [`shared: ["${'*/'.repeat(3_000)}x"]\n`, /expected at most 4096 characters/],
  ])('is refused for %.60s', (text, expected) => {
    expect(problemsOf(text)[0]).toMatch(expected);
  });

  it('leads no higher than the root of the repository', () => {
    const rules = rulesOf(
      `services:\n  - { match: "a/{service}/f", ${RUN}, cwd: "{environment}../{environment}.." }\n`,
    );
    const [service] = discoverServices(['a/web/f'], rules).services;
    expect(service && cwdOf(service)).toBe('.');
  });
});

describe('Services of one folder', () => {
  it('may have one name, if their ids differ', () => {
    const rule = `  - { match: "groups/{team}.{service}.yml", id: "{team}/{service}", ${RUN} }\n`;
    expect(idsOf(rule, ['groups/core.web.yml', 'groups/shop.web.yml'])).toEqual(['core/web', 'shop/web']);
  });

  it('have no config hash for a folder, which has no content', () => {
    const rules = rulesOf(`services:\n  - { match: "a/{service}/f", ${RUN}, config: ["{folder}"] }\n`);
    const entries: TreeEntry[] = [
      { mode: '040000', type: 'tree', id: '1'.repeat(40), path: 'a/web' },
      { mode: '100644', type: 'blob', id: '2'.repeat(40), path: 'a/web/f' },
    ];
    expect(snapshotOf('c', entries, rules).services).toMatchObject([
      { id: 'a/web', tree: '1'.repeat(40), config: [null] },
    ]);
  });
});
