import { describe, expect, it } from 'vitest';
import { compileGlob, plainGlob } from './glob.ts';
import { compilePatterns } from './path-patterns.ts';
import { expand } from './placeholders.ts';

const SHAPES: Record<string, string> = { service: '[a-z0-9][a-z0-9._-]*', nn: '\\d{1,9}' };
const shapeOf = (name: string) => SHAPES[name] ?? '[A-Za-z0-9][A-Za-z0-9._-]*';

function match(pattern: string, path: string) {
  return compileGlob(pattern, shapeOf).match(path.split('/'));
}

describe('compileGlob', () => {
  it.each([
    ['stacks/{service}/docker-compose.yml', 'stacks/web/docker-compose.yml', { service: 'web' }],
    ['apps/{nn}-{service}/deploy.sh', 'apps/01-a-b.c/deploy.sh', { nn: '01', service: 'a-b.c' }],
    ['apps/{service}-{nn}/x', 'apps/a-b-01/x', { nn: '01', service: 'a-b' }],
    ['{team}/{service}/Makefile', 'Core/db/Makefile', { team: 'Core', service: 'db' }],
    ['**/{service}/x', 'web/x', { service: 'web' }],
    ['**/{service}/x', 'a/b/web/x', { service: 'web' }],
    ['a/**/b/{service}.yml', 'a/b/b/c/b/web.yml', { service: 'web' }],
    ['*/{service}/*.yml', 'ünï [x]/web/.a.yml', { service: 'web' }],
    ['app/(group)/[id]/{service}', 'app/(group)/[id]/web', { service: 'web' }],
    ['a\\*/{service}', 'a*/web', { service: 'web' }],
  ])('%s matches %s', (pattern, path, captures) => {
    expect(match(pattern, path)).toEqual(captures);
  });

  it.each([
    ['stacks/{service}/x', 'stacks/Web/x'],
    ['stacks/{service}/x', 'stacks/a/b/x'],
    ['stacks/*/{service}', 'stacks/web'],
    ['a/**', 'a'],
    ['a\\*/{service}', 'ab/web'],
    ['*.md', 'docs/a.md'],
    ['(a|b)/{service}', 'a/web'],
  ])('%s does not match %s', (pattern, path) => {
    expect(match(pattern, path)).toBeNull();
  });

  it('knows the plain beginning and the plain file name', () => {
    expect(compileGlob('a/b/c{service}/x')).toMatchObject({
      folders: ['a', 'b'],
      beginning: 'a/b/c',
      fileName: 'x',
    });
    expect(compileGlob('a/**')).toMatchObject({ folders: ['a'], beginning: 'a', fileName: null });
    expect(compileGlob('a/b')).toMatchObject({ folders: ['a'], beginning: 'a/b', fileName: 'b' });
    expect(compileGlob('**/*.md')).toMatchObject({ folders: [], beginning: '' });
  });

  it('takes no long time for a path that almost matches in very many ways', () => {
    const glob = compileGlob('**/a*a*a/**/a*a*a/**/b');
    const path = Array.from({ length: 200 }, () => 'a'.repeat(250));
    const start = performance.now();
    expect(glob.match(path)).toBeNull();
    expect(performance.now() - start).toBeLessThan(1_000);
  });
});

describe('compilePatterns', () => {
  it('lets the last pattern decide that matches', () => {
    const { match, roots } = compilePatterns(['stacks/web/**', '!**/*.md', 'stacks/web/a.md']);
    const paths = ['stacks/web/x/y', 'stacks/web/b.md', 'stacks/web/a.md', 'other', 'stacks/web'];
    expect(paths.filter((path) => match(path.split('/')))).toEqual(['stacks/web/x/y', 'stacks/web/a.md']);
    expect(roots).toEqual(['stacks/web', 'stacks/web/a.md']);
  });

  it('takes a pattern without wildcards for a file or for a whole folder', () => {
    const { match } = compilePatterns(['a/b']);
    expect(['a/b', 'a/b/c/d', 'a/bc'].filter((path) => match(path.split('/')))).toEqual(['a/b', 'a/b/c/d']);
  });

  it('does not read a name that was put in as a pattern', () => {
    const { match } = compilePatterns([`${plainGlob('a/*{x}?')}/**`]);
    expect([match(['a', '*{x}?', 'f']), match(['a', 'b{x}c', 'f'])]).toEqual([true, false]);
    expect(compilePatterns([`${plainGlob('!a')}/**`]).match(['!a', 'f'])).toBe(true);
  });
});

describe('expand', () => {
  it('replaces placeholders once', () => {
    expect(expand('{a}-{b}-{c}', { a: '{b}', b: 'x' })).toBe('{b}-x-{c}');
    expect(expand('{constructor}', {})).toBe('{constructor}');
  });
});
