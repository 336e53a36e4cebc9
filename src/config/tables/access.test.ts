import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../config.ts';

const GIVEN = {
  WEBHOOK_SECRET: 'a secret of this test',
  GIT_REPO_URL: 'https://github.com/acme/platform.git',
};

describe('API_TOKENS', () => {
  it('are accepted from 16 characters on', () => {
    const tokens = `ada:admin:${'0123456789abcdef'}`;
    expect(loadConfig({ ...GIVEN, API_TOKENS: tokens }).apiTokens).toEqual([
      { name: 'ada', role: 'admin', token: '0123456789abcdef' },
    ]);
  });

  it.each([
    ['shorter', 'ada:admin:0123456789abcde'],
    ['a placeholder', 'ada:operator:put-a-token-here'],
    ['with a role that is none', 'ada:root:0123456789abcdef'],
    ['of one name twice', 'ada:admin:0123456789abcdef,ada:viewer:fedcba9876543210'],
  ])('are refused at the start when they are %s, without being shown', (_what, tokens) => {
    const load = () => loadConfig({ ...GIVEN, API_TOKENS: tokens });
    expect(load).toThrow(/API_TOKENS is wrong: expected .*16 or more characters/);
    expect(load).not.toThrow(tokens);
  });

  it('are refused at the start when they are those of .env.example', () => {
    const example = readFileSync(path.join(import.meta.dirname, '../../../.env.example'), 'utf8');
    const [, tokens = ''] = /^# API_TOKENS=(.+)$/m.exec(example) ?? [];
    expect(tokens).not.toBe('');
    expect(() => loadConfig({ ...GIVEN, API_TOKENS: tokens })).toThrow(/API_TOKENS is wrong/);
  });

  it('are refused when two have the same token, by their names and without the token', () => {
    const token = '0123456789abcdef';
    const load = () => loadConfig({ ...GIVEN, API_TOKENS: `ada:admin:${token},board:viewer:${token}` });
    expect(load).toThrow(/^API_TOKENS is wrong: .* ada and board have the same token: give each its own\.$/m);
    expect(load).not.toThrow(token);
  });
});
