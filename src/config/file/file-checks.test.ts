/** Mistakes across the fields of the file of CONFIG_FILE stop the start, each with its line and field. */

import { describe, expect, it } from 'vitest';
import { configFolder, ENVIRONMENTS, withFields } from './config-file.fixture.ts';

const { problems } = configFolder();

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
