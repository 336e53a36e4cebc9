/** Every mistake in the file of CONFIG_FILE stops the start, with its line and field. */

import { describe, expect, it } from 'vitest';
import { configFolder } from './config-file.fixture.ts';

const { problems } = configFolder();

const REPOSITORY = `repositories:
  - url: https://github.com/acme/platform.git
`;
const ENVIRONMENTS = `${REPOSITORY}    environments:
`;
/** The fields of one environment that is otherwise right, from line 5 on. */
function withFields(...fields: string[]): string {
  return `${ENVIRONMENTS}      - name: staging\n${fields.map((field) => `        ${field}\n`).join('')}`;
}

describe('The file of CONFIG_FILE', () => {
  it('may have a chain of promotions, and several environments that follow one branch', () => {
    const text = `${ENVIRONMENTS}
      - { name: production, promote: preprod, approval: any, approvers: [ada] }
      - { name: preprod, promote: staging, automatic: true }
      - { name: staging, follow: main }
      - { name: nightly, follow: main }
      - { name: a-1, follow: release/1.x }
      - { name: ${'b'.repeat(32)}, follow: { tags: "release/*" } }
`;
    expect(problems(text)).toEqual([]);
  });

  it.each<[string, string, RegExp]>([
    ['nothing', '', /line 1, repositories: .*expected array/],
    ['no repository', 'repositories: []\n', /line 1, repositories: .*expected/],
    ['a list for the whole', '- a\n', /line 1: .*expected object/],
    ['what is not YAML', 'repositories: [\n', /line 2: /],
    ['two documents', 'repositories: []\n---\na: b\n', /line 2: It must be one document/],
    ['a key twice', 'repositories: []\nrepositories: []\n', /line 2: .*unique/],
    [
      'an unknown field',
      'version: 1\nrepositories: [{ url: /a, environments: [{ name: a, follow: main }] }]\n',
      /line 1, version: .*expected one of repositories/,
    ],
    [
      'an unknown field of a repository',
      `${REPOSITORY}    branch: main\n    environments: [{ name: a, follow: main }]\n`,
      /line 3, repositories\.0\.branch: the field is unknown; expected one of url, name, token, /,
    ],
    [
      'an unknown field of an environment',
      withFields('follow: main', 'aproval: any'),
      /line 6, repositories\.0\.environments\.0\.aproval: the field is unknown; expected one of name, follow/,
    ],
    [
      'no environment',
      `${REPOSITORY}    environments: []\n`,
      /line 3, repositories\.0\.environments: .*expected/,
    ],
    [
      'no url',
      'repositories:\n  - environments: [{ name: a, follow: main }]\n',
      /line 2, repositories\.0\.url/,
    ],
    ...['ext::sh -c id', '-x', 'https://github.com/a b', ' '].map((url): [string, string, RegExp] => [
      `the url "${url}"`,
      `repositories:\n  - environments: [{ name: a, follow: main }]\n    url: "${url}"\n`,
      /line 3, repositories\.0\.url: expected the URL of the platform repository/,
    ]),
    ...['a/b/c', '-a/b', 'a b', '', '../x'].map((name): [string, string, RegExp] => [
      `the name "${name}"`,
      `${REPOSITORY}    name: "${name}"\n    environments: [{ name: a, follow: main }]\n`,
      /line 3, repositories\.0\.name: expected a name such as acme\/platform/,
    ]),
    [
      'a token that is no place of one',
      `${REPOSITORY}    token: CANARY\n    environments: [{ name: a, follow: main }]\n`,
      /line 3, repositories\.0\.token: expected \{ env: NAME \} or \{ file: \/path \}$/,
    ],
    [
      'a token in two places',
      `${REPOSITORY}    token: { env: A, file: /b }\n    environments: [{ name: a, follow: main }]\n`,
      /line 3, repositories\.0\.token: expected \{ env: NAME \} or \{ file: \/path \}/,
    ],
    [
      'a relative path of a token',
      `${REPOSITORY}    token: { file: token }\n    environments: [{ name: a, follow: main }]\n`,
      /line 3, repositories\.0\.token\.file: expected an absolute path/,
    ],
    ...['Staging', '1a', '-a', 'a_b', 'a'.repeat(33), ''].map((name): [string, string, RegExp] => [
      `the environment "${name}"`,
      `${ENVIRONMENTS}      - follow: main\n        name: "${name}"\n`,
      /line 5, repositories\.0\.environments\.0\.name: expected a name of a-z/,
    ]),
    ...['-x', 'a..b', 'a b', 'refs/heads/', '/x', 'x.lock', 'a.lock/b', 'a/.b', 'a.', '@', 'a@{b', 'a*'].map(
      (branch): [string, string, RegExp] => [
        `the branch "${branch}"`,
        withFields(`follow: "${branch}"`),
        /line 5, repositories\.0\.environments\.0\.follow: expected the name of a branch/,
      ],
    ),
    ...['', 'v**', 'v*.*', '-*', 'v?', '[v]*', 'a b*', 'v*/', 'v*..', 'v*.lock', '/*', 'v\\\\*'].map(
      (tags): [string, string, RegExp] => [
        `the tags "${tags}"`,
        withFields('follow:', `  tags: "${tags}"`),
        /line 6, repositories\.0\.environments\.0\.follow\.tags: expected the name of a tag, or a pattern/,
      ],
    ),
    [
      'what is neither a branch nor tags',
      withFields('follow: { tag: v1 }'),
      /line 5, .*follow: expected the name of a branch, or \{ tags: "v\*" \}/,
    ],
    [
      'neither follow nor promote',
      withFields('url: https://x'),
      /line 4, .*expected either `follow` or `promote`/,
    ],
    ['follow and promote', withFields('follow: main', 'promote: a'), /line 6, .*promote: .*not both/],
    [
      'approval without promote',
      withFields('follow: main', 'approval: any'),
      /line 6, .*approval: expected `promote`/,
    ],
    [
      'approvers without promote',
      withFields('follow: main', 'approvers: [a]'),
      /line 6, .*approvers: expected `promote`/,
    ],
    [
      'automatic without promote',
      withFields('follow: main', 'automatic: false'),
      /line 6, .*automatic: expected `promote`/,
    ],
    [
      'approvers of what nobody approves',
      withFields('promote: a', 'approvers: [ada]'),
      /line 6, .*approvers: expected `approval: any` or `approval: other`/,
    ],
    [
      'an unknown approval',
      withFields('promote: a', 'approval: all'),
      /line 6, .*approval: .*expected one of "none"/,
    ],
    [
      'an approver that is none',
      withFields('promote: a', 'approvers: ["a b"]'),
      /line 6, .*approvers\.0: expected the name/,
    ],
    [
      'automatic that is no flag',
      withFields('promote: a', 'automatic: "yes"'),
      /line 6, .*automatic: .*expected boolean/,
    ],
    [
      'itself in promote',
      withFields('promote: staging'),
      /line 5, .*promote: expected another environment than itself/,
    ],
    [
      'an unknown environment in promote',
      `${withFields('follow: main')}      - { name: production, promote: stagging }\n`,
      /line 6, .*environments\.1\.promote: expected the name of another environment here: staging/,
    ],
    [
      'a circle of promotions',
      `${ENVIRONMENTS}      - { name: a, promote: b }\n      - { name: b, promote: c }\n      - { name: c, promote: a }\n`,
      /line 4, repositories\.0\.environments\.0\.promote: expected no circle of promotions: a → b → c → a/,
    ],
    [
      'an environment twice',
      `${withFields('follow: main')}      - { name: staging, follow: other }\n`,
      /line 6, repositories\.0\.environments\.1\.name: expected another name; staging is there twice/,
    ],
    [
      'an ftp address',
      withFields('follow: main', 'url: ftp://x'),
      /line 6, .*url: expected an http\(s\) URL/,
    ],
    [
      'a password in a link',
      withFields('follow: main', 'url: https://u:CANARY@x'),
      /line 6, .*url: expected .*without credentials$/,
    ],
    [
      'a wrong window',
      withFields('follow: main', 'windows: [{ days: [mon], from: "25:00", to: "06:00" }]'),
      /windows\.0\.from: expected a time of day/,
    ],
    [
      'a number as a variable',
      withFields('follow: main', 'variables: { A: 8080 }'),
      /line 6, .*variables\.A: expected a text; write numbers/,
    ],
    [
      'a list as a variable',
      withFields('follow: main', 'variables: { A: [] }'),
      /line 6, .*variables\.A: .*expected string/,
    ],
    [
      'a variable without a name',
      withFields('follow: main', 'variables:', '  1A: b'),
      /line 7, .*variables\.1A: expected the name of a variable/,
    ],
    [
      'a secret without a name',
      withFields('follow: main', 'secrets:', '  A-B: { env: A }'),
      /line 7, .*secrets\.A-B: expected the name of a variable/,
    ],
    [
      'a NUL character',
      withFields('follow: main', 'variables: { A: "\\0" }'),
      /line 6, .*variables\.A: expected no NUL/,
    ],
    [
      'a text with ! that is not in quotes',
      withFields('follow: main', 'variables: { A: !CANARY }'),
      /line 6: .*in quotes$/,
    ],
    ...['WEBHOOK_SECRET', 'GITHUB_TOKEN', 'GITHUB_TOKEN_FILE', 'DATA_DIR'].map(
      (name): [string, string, RegExp] => [
        `the variable ${name}`,
        withFields('follow: main', 'variables:', `  ${name}: a`),
        /line 7, .*variables\.\w+: expected another name; tasks never get /,
      ],
    ),
    ...['IAC_ENVIRONMENT', 'IAC_X', 'PYTHONPATH', 'PYTHONUNBUFFERED'].map(
      (name): [string, string, RegExp] => [
        `the variable ${name}`,
        withFields('follow: main', 'variables:', `  ${name}: a`),
        /line 7, .*variables\.\w+: expected another name; iac-runner itself sets /,
      ],
    ),
    [
      'a name that is a variable and a secret',
      withFields('follow: main', 'variables: { A: b }', 'secrets: { A: { env: WEBHOOK_SECRET } }'),
      /line 7, .*secrets\.A: expected another name; `variables` has A, too/,
    ],
    [
      "a secret that is the server's own",
      withFields('follow: main', 'secrets: { A: { env: WEBHOOK_SECRET } }'),
      /line 6, .*secrets\.A\.env: expected another variable; tasks never get WEBHOOK_SECRET/,
    ],
  ])('is refused with %s', (_what, text, expected) => {
    const lines = problems(text);
    expect(lines[0]).toMatch(/^CONFIG_FILE line \d+/);
    expect(lines[0]).toMatch(expected);
    expect(lines.join('\n')).not.toContain('CANARY');
  });

  const repository = (url: string, name = '') =>
    `  - { url: "${url}"${name && `, name: ${name}`}, environments: [{ name: a, follow: main }] }\n`;
  it.each([
    ['https://github.com/acme/platform.git', 'git@github.com:Acme/platform'],
    ['https://u:CANARY@git.example.com/a/b.git', 'ssh://git@Git.example.com/a/b/'],
    ['/srv/git/a.git', 'file:///srv/git/a'],
  ])('is refused with the repositories %s and %s, which are the same', (one, other) => {
    const text = `repositories:\n${repository(one, 'a')}${repository('/srv/x')}${repository(other, 'b')}`;
    expect(problems(text)).toEqual([
      'CONFIG_FILE line 4, repositories.2.url: expected another repository; repositories.0 is the same one',
    ]);
  });

  it('is refused with two repositories of one name', () => {
    const names = `repositories:\n${repository('/srv/a', 'acme/a')}${repository('/srv/b', 'Acme/A')}`;
    expect(problems(names)).toEqual([
      'CONFIG_FILE line 3, repositories.1.name: expected another `name`; repositories.0 has the name Acme/A, too',
    ]);
    const defaults = `repositories:\n${repository('/srv/one/a')}${repository('/srv/two/a.git')}`;
    expect(problems(defaults)).toEqual([
      'CONFIG_FILE line 3, repositories.1.url: expected another `name`; repositories.0 has the name a, too',
    ]);
    const apart = `repositories:\n${repository('/srv/one/a', 'one/a')}${repository('/srv/two/a', 'two/a')}`;
    expect(problems(apart)).toEqual([]);
  });

  it('is refused with every mistake at once', () => {
    const text = `${ENVIRONMENTS}
      - { name: staging, follow: "a..b" }
      - { name: Production, promote: staging, approval: all }
`;
    expect(problems(text)).toHaveLength(3);
    const across = `${ENVIRONMENTS}
      - { name: staging, promote: staging, secrets: { A: { env: MISSING } } }
      - { name: staging, follow: main, variables: { PYTHONPATH: x } }
`;
    expect(problems(across)).toHaveLength(4);
  });
});
