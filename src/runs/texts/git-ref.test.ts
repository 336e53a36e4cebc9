import { describe, expect, it } from 'vitest';
import { refProblem } from './git-ref.ts';

describe('refProblem', () => {
  it.each([
    'main',
    'feature/a-b_c.d',
    'v1.2.3',
    'HEAD',
    'refs/pull/12/head',
    '0123456789abcdef0123456789abcdef01234567',
    'a;touch$IFS',
    '$(id)',
    'ünïcode',
    'a@b',
  ])('accepts %j', (ref) => {
    expect(refProblem(ref)).toBeNull();
  });

  it.each([
    '',
    '-x',
    '--upload-pack=touch X',
    'a b',
    'a..b',
    'a~1',
    'a^',
    'a:b',
    'a?',
    'a*',
    'a[b',
    'a\\b',
    'a\nb',
    'a\0b',
    '@',
    'a@{1}',
    '/a',
    'a/',
    'a//b',
    'a.',
    '.a',
    'a/.b',
    'a.lock',
    'a.lock/b',
    '\ud800',
    'x'.repeat(256),
  ])('F35: refuses %j', (ref) => {
    expect(refProblem(ref)).toEqual(expect.any(String));
  });
});
