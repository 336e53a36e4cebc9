/** A configuration file of any content is refused soon, and nothing of its text is shown that may be a secret. */

import { describe, expect, it } from 'vitest';
import { configFolder } from './config-file.fixture.ts';

const { problems } = configFolder();

const HEAD = 'repositories:\n  - url: /srv/a\n    environments:\n';
/** Enough to be full, and below the limit of the file. */
const MANY = 20_000;

describe('A hostile configuration file', () => {
  it.each<[string, string, RegExp]>([
    [
      'a huge file',
      `# ${'x'.repeat(300_000)}\n`,
      /^CONFIG_FILE names the file \S+, but it has more than 256 KiB/,
    ],
    ['deep nesting', '['.repeat(100_000), /^CONFIG_FILE.*: it is nested too deeply/],
    ['deep nesting that is closed', `repositories: ${'['.repeat(60)}${']'.repeat(60)}`, /nested too deeply/],
    ['aliases', 'a: &x [1]\nrepositories: *x\n', /aliases \(\*name\) are not allowed/],
    [
      'aliases of aliases',
      `a0: &a0 [x]\n${Array.from({ length: 30 }, (_, n) => `a${n + 1}: &a${n + 1} [*a${n}, *a${n}]\n`).join('')}`,
      /aliases/,
    ],
    [
      'a field __proto__',
      'repositories: []\n__proto__: { a: b }\n',
      /line 2: Map keys must not be __proto__/,
    ],
    [
      'a variable __proto__',
      `${HEAD}      - { name: a, follow: main, variables: { __proto__: b } }\n`,
      /line 4: Map keys must not be __proto__/,
    ],
    ['a key that is a list', 'repositories: []\n? [a]\n: b\n', /line 2: .*plain text/],
    ['too many repositories', `repositories: [${'{},'.repeat(MANY)}]`, /line 1, repositories/],
    [
      'too many environments',
      `${HEAD}      [${'{},'.repeat(MANY)}]`,
      /line 4, repositories\.0\.environments/,
    ],
    [
      'too many variables',
      `${HEAD}      - { name: a, follow: main, variables: { ${Array.from({ length: 201 }, (_, n) => `V${n}: x`).join(', ')} } }`,
      /variables: expected at most 200 variables/,
    ],
    [
      'a long value',
      `${HEAD}      - { name: a, follow: main, variables: { A: ${'x'.repeat(40_000)} } }`,
      /variables\.A: .*expected/,
    ],
    ['a long branch', `${HEAD}      - { name: a, follow: ${'a/'.repeat(50_000)} }`, /follow: .*expected/],
    [
      'a long pattern of tags',
      `${HEAD}      - { name: a, follow: { tags: "${'*'.repeat(50_000)}" } }`,
      /follow/,
    ],
    ['a long address', `repositories: [{ url: "${'a/'.repeat(50_000)}" }]`, /repositories\.0\.url: /],
    ['many unknown fields', Array.from({ length: MANY }, (_, n) => `f${n}: x\n`).join(''), /line 1, /],
  ])('is refused: %s', (_what, text, expected) => {
    const start = performance.now();
    const lines = problems(text);
    expect(lines[0]).toMatch(expected);
    expect(lines.length).toBeLessThanOrEqual(20);
    expect(lines.every((line) => line.length < 1_000)).toBe(true);
    expect(performance.now() - start).toBeLessThan(10_000);
  });

  it('has few problems, even if everything in it is wrong', () => {
    const environments = Array.from({ length: 50 }, () => '      - { name: a, promote: a }\n').join('');
    expect(problems(HEAD + environments)).toHaveLength(20);
  });

  it.each([
    'repositories: !x\n  - |CANARY\n',
    'a: !CANARY! x\n',
    'a: !x!CANARY\n',
    'a: !<CANARY x\n',
    'repositories: %CANARY\n',
    'a: "b" CANARY\n',
    'a: @CANARY\n',
    'a: *CANARY\n',
    'a: !CANARY\n',
    'a: b\n---\nCANARY\n',
    'a: [b}CANARY\n',
    '}CANARY\n',
    'a: >CANARY\n  b\n',
    '%YAML CANARY\n---\na: b\n',
    `${HEAD}      - { name: a, follow: main, secrets: { A: CANARY } }\n`,
    `${HEAD}      - { name: a, follow: main, variables: CANARY }\n`,
    `${HEAD}      - { name: CANARY, follow: "-CANARY", url: CANARY, promote: CANARY, approval: CANARY }\n`,
    'repositories: [{ url: "https://CANARY@x/ a", name: "CANARY/b/c", token: { file: CANARY } }]\n',
  ])('shows nothing that may be a secret: %s', (text) => {
    const lines = problems(text);
    expect(lines.length).toBeGreaterThan(0);
    expect(lines.join('\n')).not.toContain('CANARY');
  });
});
