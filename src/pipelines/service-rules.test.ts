import { describe, expect, it } from 'vitest';
import {
  createPathMatcher,
  DEFAULT_RULES,
  discoverServices,
  globPatterns,
  ruleOf,
  servicesNamedBy,
} from './service-rules.ts';

function ids(...paths: string[]): string[] {
  return discoverServices(paths).services.map(({ id }) => id);
}

describe('discoverServices', () => {
  it.each([
    ['platform/01.postgres/deploy.py', { id: 'platform/postgres', wave: 1, task: 'postgres.sync' }],
    ['platform/1.redis/deploy.py', { id: 'platform/redis', wave: 1, task: 'redis.sync' }],
    ['platform/20.a.b/deploy.py', { id: 'platform/a.b', wave: 20, task: 'a.b.sync' }],
    [
      'finance_report/finance_report/10.app/deploy.py',
      { id: 'finance_report/app', wave: 10, task: 'fr-app.sync' },
    ],
    ['bootstrap/05.iac-runner/deploy.py', { id: 'bootstrap/iac-runner', wave: 5, task: null }],
  ])('finds %s', (path, service) => {
    expect(discoverServices([path])).toMatchObject({ services: [service], duplicates: [] });
  });

  it.each([
    ['a file at the root of platform/', 'platform/README.md'],
    ['deploy.py at the root of platform/', 'platform/deploy.py'],
    ['no number', 'platform/postgres/deploy.py'],
    ['no dot', 'platform/01postgres/deploy.py'],
    ['letters for a number', 'platform/ab.postgres/deploy.py'],
    ['no name', 'platform/01./deploy.py'],
    ['an upper-case name', 'platform/01.Postgres/deploy.py'],
    ['a name like an option', 'platform/01.-revil/deploy.py'],
    ['shell syntax in the name', 'platform/01.a;b/deploy.py'],
    ['a space in the name', 'platform/01.a b/deploy.py'],
    ['a name that is not ASCII', 'platform/01.ünïcode/deploy.py'],
    ['a newline in the name', 'platform/01.a\nb/deploy.py'],
    ['deeper than a service', 'platform/01.postgres/sub/deploy.py'],
    ['another file', 'platform/01.postgres/deploy.pyc'],
    ['another root', 'other/01.postgres/deploy.py'],
    ['one finance_report folder only', 'finance_report/10.app/deploy.py'],
  ])('finds nothing in %s', (_name, path) => {
    expect(ids(path)).toEqual([]);
  });

  it('sorts by wave, then by id', () => {
    const paths = ['platform/10.z', 'platform/2.b', 'platform/02.a', 'finance_report/finance_report/01.x'];
    expect(ids(...paths.map((path) => `${path}/deploy.py`))).toEqual([
      'finance_report/x',
      'platform/a',
      'platform/b',
      'platform/z',
    ]);
  });

  it('names both folders that claim one id and runs neither', () => {
    const { services, duplicates } = discoverServices([
      'platform/02.redis/deploy.py',
      'platform/01.redis/deploy.py',
      'platform/01.postgres/deploy.py',
    ]);
    expect(services.map(({ id }) => id)).toEqual(['platform/postgres']);
    expect(duplicates).toEqual([
      { id: 'platform/redis', folders: ['platform/01.redis', 'platform/02.redis'] },
    ]);
  });

  it('handles 10,000 services without pause', () => {
    const paths = Array.from({ length: 10_000 }, (_, i) => `platform/${i % 20}.s${i}/deploy.py`);
    expect(discoverServices(paths).services).toHaveLength(10_000);
  });
});

describe('globPatterns', () => {
  it('is what fast-glob needs to find the same files', () => {
    const patterns = globPatterns({
      services: [{ match: 'a/b/{nn}.{service}/deploy.py', id: '{service}', task: '{service}' }],
      shared: [],
      exclude: [],
      needs: {},
      timeoutsMs: {},
      windows: [],
      requireSignature: false,
    });
    expect(patterns).toEqual(['a/b/*/deploy.py']);
  });
});

describe('servicesNamedBy', () => {
  it.each([
    [['platform/01.postgres/compose.yaml'], ['platform/postgres']],
    [['platform/01.postgres/a/b/c.txt'], ['platform/postgres']],
    [
      ['platform/02.redis/x', 'platform/01.postgres/y', 'platform/02.redis/z'],
      ['platform/postgres', 'platform/redis'],
    ],
    [['libs/deployer.py'], ['__all__']],
    [
      ['libs/a/b.py', 'platform/01.postgres/y'],
      ['__all__', 'platform/postgres'],
    ],
    [['tasks.py'], ['__all__']],
    [['finance_report/finance_report/10.app/compose.yaml'], ['finance_report/app']],
    [['platform/README.md', 'README.md', 'docs/libs/x.py', 'library/x', 'platform/01.x'], []],
    [['bootstrap/05.iac-runner/compose.yaml'], []],
    [['platform/01.Postgres/compose.yaml', '../platform/01.a/x', '/platform/01.a/x'], []],
    [[], []],
  ])('%j names %j', (paths, named) => {
    expect(servicesNamedBy(paths)).toEqual(named);
  });
});

describe('ruleOf', () => {
  it.each([
    ['platform/01.redis/conf/a.yml', 'platform/{nn}.{service}/deploy.py'],
    ['finance_report/finance_report/10.app/x', 'finance_report/finance_report/{nn}.{service}/deploy.py'],
    ['libs/deep/er.py', 'libs'],
    ['tasks.py', 'tasks.py'],
    ['platform/README.md', null],
    ['README.md', null],
  ])('%s counts by %s', (path, rule) => {
    expect(ruleOf(DEFAULT_RULES, path)).toBe(rule);
  });
});

describe('createPathMatcher', () => {
  it('tells the service a path belongs to by its folder alone', () => {
    const match = createPathMatcher();
    expect(match('platform/07.app.web/src/ünï "code".tf')).toMatchObject({
      kind: 'service',
      service: { id: 'platform/app.web', folder: 'platform/07.app.web' },
    });
  });
});
