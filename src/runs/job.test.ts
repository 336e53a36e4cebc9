import { describe, expect, it } from 'vitest';
import { commitMessage, isJobId, jobBranch, maskToken } from './job.ts';

describe('jobs', () => {
  it.each([
    ['Add a login page', 'repobox: Add a login page'],
    ['x'.repeat(50), `repobox: ${'x'.repeat(50)}`],
    ['x'.repeat(51), `repobox: ${'x'.repeat(50)}`],
    ['one\ntwo\r\nthree\rfour', 'repobox: one two three four'],
    ['é'.repeat(60), `repobox: ${'é'.repeat(50)}`],
    ['👩‍👩‍👧‍👦'.repeat(60), `repobox: ${'👩‍👩‍👧‍👦'.repeat(50)}`],
    ['e\u0301'.repeat(60), `repobox: ${'e\u0301'.repeat(50)}`],
    ['日本語'.repeat(30), `repobox: ${'日本語'.repeat(30).slice(0, 50)}`],
    ['\u001b[31mred\u0000', 'repobox:  [31mred'],
    [' ', 'repobox:'],
    ['a --flag\u2028b', 'repobox: a --flag b'],
  ])('commits %j as one line of 50 characters', (prompt, message) => {
    expect(commitMessage(prompt)).toBe(message);
  });

  it.each([
    ['', '****'],
    ['123456789012', '****'],
    ['1234567890123', '1234****0123'],
    ['ghp_1234567890abcdefghijklmnop', 'ghp_****mnop'],
  ])('shows the token %j as %j', (token, shown) => {
    expect(maskToken(token)).toBe(shown);
  });

  it('names the branch by the first eight characters of the id', () => {
    expect(jobBranch('0123abcd-4567-89ab-cdef-0123456789ab')).toBe('repobox/0123abcd');
  });

  it.each(['', '..', 'a/b', '-x', 'a b', 'a\n', 'ä', 'x'.repeat(129)])('takes no id like %j', (id) => {
    expect(isJobId(id)).toBe(false);
  });
});
