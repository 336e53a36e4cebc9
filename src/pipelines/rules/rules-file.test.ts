import { describe, expect, it } from 'vitest';
import { describeProblem, parseRulesFile } from './rules-file.ts';
import { DEFAULT_RULES } from './service-rules.ts';

function problems(text: string): string[] {
  const parsed = parseRulesFile(text);
  return parsed.ok ? [] : parsed.problems.map((problem) => describeProblem('.iac-runner.yaml', problem));
}

describe('parseRulesFile', () => {
  it('uses the built-in rules if the file is empty', () => {
    expect(parseRulesFile('')).toEqual({ ok: true, rules: DEFAULT_RULES });
    expect(parseRulesFile('# nothing yet\n')).toEqual({ ok: true, rules: DEFAULT_RULES });
  });

  it('reads every field', () => {
    const text = `
services:
  - match: apps/{nn}.{service}/deploy.py
    id: apps/{service}
    task: app-{service}.sync
  - { match: "base/{nn}.{service}/deploy.py", id: "base/{service}", task: null }
shared:
  - libs
  - path: libs/postgres
    services: [apps/db]
exclude: [apps/old]
needs:
  apps/web: [apps/db, apps/cache]
timeouts:
  apps/db: 1200
windows:
  - days: [mon, fri]
    from: "22:30"
    to: "06:00"
    timezone: Europe/Berlin
signatures: required
`;
    expect(parseRulesFile(text)).toEqual({
      ok: true,
      rules: {
        environment: '',
        services: [
          { match: 'apps/{nn}.{service}/deploy.py', id: 'apps/{service}', task: 'app-{service}.sync' },
          { match: 'base/{nn}.{service}/deploy.py', id: 'base/{service}', task: null },
        ],
        shared: [
          { path: 'libs', services: null },
          { path: 'libs/postgres', services: ['apps/db'] },
        ],
        ignore: [],
        exclude: ['apps/old'],
        needs: { 'apps/web': ['apps/db', 'apps/cache'] },
        timeoutsMs: { 'apps/db': 1_200_000 },
        windows: [{ days: ['mon', 'fri'], fromMinute: 1_350, toMinute: 360, timeZone: 'Europe/Berlin' }],
        requireSignature: true,
      },
    });
  });

  it.each([
    ['not YAML', 'services: [\n', /line 2/],
    ['a key twice', 'exclude: []\nexclude: []\n', /line 2: .*unique/],
    ['an unknown key', 'exclude: []\nexcluded: [a]\n', /line 2, excluded: Unrecognized key: "excluded"/],
    ['a list for the whole', '- a\n', /line 1: Invalid input: expected object/],
    ['a wrong type', 'exclude:\n  - a\n  - 3\n', /line 3, exclude\.1: /],
    [
      'a match without a name',
      'services:\n  - match: apps/x/deploy.py\n    id: "{service}"\n    task: x\n',
      /line 2, services\.0\.match: expected \{service\}/,
    ],
    [
      'a match that climbs',
      'services:\n  - match: ../{nn}.{service}/deploy.py\n    id: "{service}"\n    task: x\n',
      /line 2, services\.0\.match/,
    ],
    [
      'a task like an option',
      'services:\n  - match: a/{nn}.{service}/deploy.py\n    id: "{service}"\n    task: "--collection=x"\n',
      /line 4, services\.0\.task: expected the name of an invoke task/,
    ],
    ['an absolute shared path', 'shared:\n  - /etc\n', /line 2, shared\.0/],
    ['a shared path that climbs', 'shared:\n  - libs/../../etc\n', /line 2, shared\.0/],
    [
      'a circle of needs',
      'needs:\n  platform/a: [platform/b]\n  platform/b: [platform/c]\n  platform/c: [platform/a]\n',
      /line 2, needs\.platform\/a: these need each other: platform\/a → platform\/b → platform\/c → platform\/a/,
    ],
    [
      'a time of day that is none',
      'windows:\n  - days: [mon]\n    from: "25:00"\n    to: "06:00"\n',
      /line 3, windows\.0\.from: expected a time of day/,
    ],
    [
      'a time zone that is none',
      'windows:\n  - days: [mon]\n    from: "05:00"\n    to: "06:00"\n    timezone: Mars\n',
      /line 5, windows\.0\.timezone: expected a time zone/,
    ],
    ['a timeout of nothing', 'timeouts:\n  a: 0\n', /line 2, timeouts\.a/],
    ['a key twice in a nested map', 'needs:\n  a: []\n  b: []\n  a: []\n', /line 4: .*unique/],
    ['what is nested too deeply', '['.repeat(100_000), /\.iac-runner\.yaml/],
    ['a key that is a list', 'exclude: []\n? [a]\n: b\n', /line 2: .*plain text/],
    [
      'a list too deep for any rule',
      `shared: ${'['.repeat(60)}${']'.repeat(60)}`,
      /line 1: .*nested too deeply/,
    ],
    [
      'an id that no rule makes, in exclude',
      'exclude:\n  - platform/a\n  - plattform/b\n',
      /line 3, exclude\.1: no rule makes a service plattform\/b/,
    ],
    [
      'an id that no rule makes, as what needs',
      'needs:\n  platform/a: [platform/b]\n  web: [platform/b]\n',
      /line 3, needs\.web: no rule makes a service web/,
    ],
    [
      'an id that no rule makes, as what is needed',
      'needs:\n  platform/a: [platform/b, platform/Postgres]\n',
      /line 2, needs\.platform\/a\.1: no rule makes a service platform\/Postgres/,
    ],
    [
      'an id that no rule makes, in timeouts',
      'timeouts:\n  web: 10\n',
      /line 2, timeouts\.web: no rule makes/,
    ],
    [
      'an id that no rule makes, in shared',
      'shared:\n  - libs\n  - path: x\n    services: [platform/a, web]\n',
      /line 4, shared\.1\.services\.1: no rule makes a service web/,
    ],
    [
      'an id that only the built-in rules would make',
      'services:\n  - match: a/{nn}.{service}/x\n    id: "{service}"\n    task: x\nexclude: [platform/a]\n',
      /line 5, exclude\.0: no rule makes a service platform\/a/,
    ],
    ['".." behind a line break', 'terraform:\n  roots: ["a\\n/../.."]\n', /line 2, terraform\.roots\.0/],
    ['".." behind a line separator', 'shared: ["a\\u2028/../.."]\n', /line 1, shared\.0/],
    ['a key that no schema sees', 'exclude: []\n__proto__: []\n', /line 2: .*__proto__/],
    [
      'a pattern with ! that is not in quotes',
      'exclude: []\nignore: [docs/**, !**/a.md]\n',
      /line 2: .*quotes/,
    ],
    ['an alias', 'a: &x [1]\nexclude: *x\n', /aliases/],
    ['something huge', `# ${'x'.repeat(300_000)}\n`, /larger than 256 KiB/],
  ])('names line and field of %s', (_name, text, expected) => {
    const [first = ''] = problems(text);
    expect(first).toMatch(/^\.iac-runner\.yaml/);
    expect(first).toMatch(expected);
  });

  it('follows a chain of needs of any length', () => {
    const chain = Array.from(
      { length: 6_000 },
      (_, index) => `  platform/s${index}: [platform/s${index + 1}]\n`,
    );
    expect(parseRulesFile(`needs:\n${chain.join('')}`).ok).toBe(true);
  });

  it('accepts ids that a rule can make, whether they exist or not', () => {
    expect(problems('exclude: [bootstrap/x]\nneeds: { platform/a: [finance_report/b.c] }\n')).toEqual([]);
  });

  it('is not slowed down by a hostile path', () => {
    expect(problems(`shared:\n  - "${'a/'.repeat(2_000)}"\n`)).toHaveLength(1);
  });
});
