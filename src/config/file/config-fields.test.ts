/** A wrong field in the file of CONFIG_FILE stops the start, with its line and what was expected. */

import { describe, expect, it } from 'vitest';
import { configFolder, ENVIRONMENTS, REPOSITORY, withFields } from './config-file.fixture.ts';

const { problems } = configFolder();

describe('The file of CONFIG_FILE', () => {
  it.each<[string, string, RegExp]>([
    ['nothing', '', /line 1: expected `repositories`, or `notify`/],
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
  ])('is refused with %s', (_what, text, expected) => {
    const lines = problems(text);
    expect(lines[0]).toMatch(/^CONFIG_FILE line \d+/);
    expect(lines[0]).toMatch(expected);
    expect(lines.join('\n')).not.toContain('CANARY');
  });
});
