import { describe, expect, it } from 'vitest';
import { createPathMatcher, ruleOf, servicesNamedBy } from './touched-paths.ts';

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
    expect(ruleOf(createPathMatcher()(path), '')).toBe(rule);
  });
});

describe('createPathMatcher', () => {
  it('finds the service of a path by its folder alone', () => {
    const match = createPathMatcher();
    expect(match('platform/07.app.web/src/ünï "code".tf')).toMatchObject({
      services: [{ id: 'platform/app.web', folder: 'platform/07.app.web' }],
      shared: [],
    });
  });
});
