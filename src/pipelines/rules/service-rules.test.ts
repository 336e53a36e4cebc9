import { describe, expect, it } from 'vitest';
import { describeDuplicate, discoverServices } from './discover-services.ts';
import { DEFAULT_RULES } from './service-rules.ts';
import { shownCommand } from './service-texts.ts';

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
  ])('finds %s', (path, expected) => {
    const { services, duplicates } = discoverServices([path]);
    expect(duplicates).toEqual([]);
    const found = services.map((service) => ({
      id: service.id,
      wave: service.wave,
      task: service.runs ? shownCommand(service) : null,
    }));
    expect(found).toEqual([expected]);
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

  it('names both folders that have one id and runs neither', () => {
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

  it('takes a folder with the files of two rules for one service, by the first of them', () => {
    const rules = {
      ...DEFAULT_RULES,
      services: [
        { match: 'apps/{nn}.{service}/deploy.py', id: 'apps/{service}', task: '{service}.sync' },
        { match: 'apps/{nn}.{service}/Chart.yaml', id: 'charts/{service}', task: '{service}.helm' },
      ],
    };
    const { services, duplicates } = discoverServices(
      ['apps/01.web/Chart.yaml', 'apps/01.web/deploy.py'],
      rules,
    );
    expect(duplicates).toEqual([]);
    expect(services).toMatchObject([
      { id: 'apps/web', folder: 'apps/01.web', wave: 1, rule: rules.services[0] },
    ]);
  });

  it('allows folders that never run to have one id', () => {
    const paths = [
      'bootstrap/02.net/deploy.py',
      'bootstrap/01.net/deploy.py',
      'platform/02.a/deploy.py',
      'platform/01.a/deploy.py',
    ];
    const { services, duplicates } = discoverServices(paths, { ...DEFAULT_RULES, exclude: ['platform/a'] });
    expect(duplicates).toEqual([]);
    expect(services.map(({ folder, runs }) => [folder, runs])).toEqual([
      ['bootstrap/01.net', false],
      ['platform/01.a', false],
    ]);
  });

  it('names the first of very many folders that have one id', () => {
    const paths = Array.from({ length: 40_000 }, (_, index) => `platform/${index}.a/deploy.py`);
    const [duplicate] = discoverServices(paths).duplicates;
    expect(duplicate?.folders).toHaveLength(40_000);
    expect(duplicate && describeDuplicate(duplicate)).toMatch(
      /^40000 folders claim the id platform\/a: .* and 39995 more\. /,
    );
  });

  it('handles 10,000 services without pause', () => {
    const paths = Array.from({ length: 10_000 }, (_, i) => `platform/${i % 20}.s${i}/deploy.py`);
    expect(discoverServices(paths).services).toHaveLength(10_000);
  });
});
