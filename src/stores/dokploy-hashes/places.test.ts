import { describe, expect, it } from 'vitest';
import { locate, type Projects } from './places.ts';

/** Maps projects to environments to names of compose services. The id of each is `<project>/<environment>/<name>`. */
function projects(described: Record<string, string[][]>): Projects {
  return Object.entries(described).map(([name, environments]) => ({
    name,
    environments: environments.map((names, index) => ({
      compose: names.map((compose) => ({ composeId: `${name}/${index}/${compose}`, name: compose })),
    })),
  }));
}

const IDS = ['platform/redis', 'platform/postgres', 'finance_report/postgres', 'finance_report/app'];

const TABLE: [
  what: string,
  described: Record<string, string[][]>,
  service: string,
  expected: string | null,
][] = [
  ['its name in its project', { platform: [['redis']] }, 'platform/redis', 'platform/0/redis'],
  [
    'its name in its project, and in another',
    { platform: [['postgres']], finance_report: [['postgres']] },
    'finance_report/postgres',
    'finance_report/0/postgres',
  ],
  ['any environment of its project', { platform: [[], ['redis']] }, 'platform/redis', 'platform/1/redis'],
  ['project and name', { platform: [['platform-redis']] }, 'platform/redis', 'platform/0/platform-redis'],
  [
    'its plain name before project and name',
    { platform: [['platform-redis', 'redis']] },
    'platform/redis',
    'platform/0/redis',
  ],
  ['the only one of its name', { misc: [['redis', 'x']] }, 'platform/redis', 'misc/0/redis'],
  [
    'project and name anywhere',
    { misc: [['platform-postgres']] },
    'platform/postgres',
    'misc/0/platform-postgres',
  ],
  ['two environments that have it', { platform: [['redis'], ['redis']] }, 'platform/redis', null],
  ['two in one environment', { platform: [['redis', 'redis']] }, 'platform/redis', null],
  ['two matches in other projects', { a: [['redis']], b: [['redis']] }, 'platform/redis', null],
  ['the only one of a name that two services have', { misc: [['postgres']] }, 'platform/postgres', null],
  [
    'a match only in another project, though its own project exists',
    { platform: [['x']], misc: [['redis']] },
    'platform/redis',
    null,
  ],
  ['another case', { platform: [['Redis']] }, 'platform/redis', null],
  ['nothing', {}, 'platform/redis', null],
];

describe('The compose service of a service', () => {
  it.each(TABLE)('with %s', (_what, described, service, expected) => {
    const located = locate(service, IDS, projects(described));
    if (expected === null) expect(located).toHaveProperty('problem');
    else expect(located).toMatchObject({ place: { composeId: expected } });
  });

  it('is reported as missing or ambiguous, in one sentence', () => {
    const problem = (described: Record<string, string[][]>, service: string) =>
      locate(service, IDS, projects(described));
    expect(problem({ platform: [[]] }, 'platform/redis')).toEqual({
      problem: 'the project platform has no compose service redis or platform-redis',
    });
    expect(problem({ platform: [['redis'], ['redis']] }, 'platform/redis')).toEqual({
      problem: 'the project platform has 2 compose services redis',
    });
    expect(problem({ misc: [['postgres']] }, 'platform/postgres')).toEqual({
      problem: 'the compose service postgres could also be finance_report/postgres',
    });
  });
});
