/** The secrets that the file of CONFIG_FILE names are found at the start, masked, and kept from other tasks. */

import { rmSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { SecretMissingError } from '../../errors.ts';
import { readSecret } from '../repositories.ts';
import { configFolder } from './config-file.fixture.ts';

const { write, load, problems } = configFolder();

function withSecret(secret: string, token = '{ env: PLATFORM_TOKEN }'): string {
  return `repositories:
  - url: https://bot:address-password@git.example.com/acme/platform.git
    token: ${token}
    environments:
      - name: staging
        follow: main
        secrets:
          VAULT_APP_TOKEN: ${secret}
`;
}

const TOKEN = { PLATFORM_TOKEN: 'platform-token' };

describe('A secret in the file of CONFIG_FILE', () => {
  it('is found in a variable at the start', () => {
    const { repositories } = load(withSecret('{ env: VAULT_STAGING }'), {
      ...TOKEN,
      VAULT_STAGING: 'vault-token',
    });
    expect(repositories[0]?.token).toEqual({ value: 'platform-token' });
    expect(repositories[0]?.environments[0]?.secrets).toEqual({ VAULT_APP_TOKEN: { value: 'vault-token' } });
  });

  it('is read from its file each time, without the final newline', () => {
    const path = write('vault', 'first\n\n');
    const { repositories } = load(withSecret(`{ file: ${path} }`), TOKEN);
    const secret = repositories[0]?.environments[0]?.secrets.VAULT_APP_TOKEN ?? { value: '' };
    expect(secret).toEqual({ file: path });
    expect(readSecret(secret)).toBe('first\n');
    write('vault', 'second\r\n');
    expect(readSecret(secret)).toBe('second');
    rmSync(path);
    expect(() => readSecret(secret)).toThrow(SecretMissingError);
    expect(() => readSecret(secret)).toThrow(
      `CONFIG_FILE names the file ${path}, but it cannot be read (ENOENT). Create it, and let the user of iac-runner read it.`,
    );
  });

  it('is known as it is', () => {
    expect(readSecret({ value: ' a \n' })).toBe(' a \n');
  });

  it('is masked from the start on, and the password of an address is known to the masks', () => {
    const path = write('token', 'token-in-a-file\n');
    const environment = { VAULT_STAGING: ' vault-staging\n' };
    const { secrets } = load(withSecret('{ env: VAULT_STAGING }', `{ file: ${path} }`), environment);
    expect(secrets.values).toEqual(
      expect.arrayContaining([' vault-staging\n', 'vault-staging', 'token-in-a-file']),
    );
    expect(Object.values(secrets.others)).toContain(
      'https://bot:address-password@git.example.com/acme/platform.git',
    );
  });

  it('is GITHUB_TOKEN if there is no other token', () => {
    const text = 'repositories: [{ url: /srv/a, environments: [{ name: a, follow: main }] }]\n';
    expect(load(text, { GITHUB_TOKEN: 'a-github-token' }).repositories[0]?.token).toEqual({
      value: 'a-github-token',
    });
    expect(load(text).repositories[0]?.token).toBeNull();
  });

  it('reaches no task by TASK_ENV or AGENT_ENV', () => {
    const text = withSecret('{ env: VAULT_APP_TOKEN }');
    const given = { ...TOKEN, VAULT_APP_TOKEN: 'vault-token' };
    expect(load(text, given).taskEnvironment).toEqual({ ENV: 'production', PROJECT: 'platform' });
    for (const list of ['TASK_ENV', 'AGENT_ENV']) {
      expect(problems(text, { ...given, [list]: 'ENV,VAULT_APP_TOKEN' })).toEqual([
        expect.stringMatching(new RegExp(`^${list} is wrong: .* Tasks never get VAULT_APP_TOKEN\\.$`)),
      ]);
    }
  });

  const empty = write('empty', '\n');
  const large = write('large', 'CANARY'.repeat(20_000));
  it.each<[string, string, RegExp]>([
    [
      'a variable that is not set',
      '{ env: VAULT_STAGING }',
      /the variable VAULT_STAGING, which is not set or empty$/,
    ],
    ['a variable that is blank', '{ env: BLANK }', /the variable BLANK, which is not set or empty$/],
    ['the secret itself', '{ env: ghp_canary0123456789 }', /the variable that `env` names, which is not set/],
    ['no file', '{ file: /nowhere/secret }', /the file \/nowhere\/secret, but it cannot be read \(ENOENT\)/],
    ['an empty file', `{ file: ${empty} }`, /but it is empty\. Write the secret into it\.$/],
    ['a large file', `{ file: ${large} }`, /but it has more than 64 KiB/],
    ['a folder', '{ file: /tmp }', /but that is not a file/],
    ['a device', '{ file: /dev/zero }', /but that is not a file/],
  ])('stops the start with %s', (_what, secret, expected) => {
    const lines = problems(withSecret(secret), { ...TOKEN, BLANK: ' ' });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(
      /^CONFIG_FILE line 8, repositories\.0\.environments\.0\.secrets\.VAULT_APP_TOKEN: expected a secret in /,
    );
    expect(lines[0]).toMatch(expected);
    expect(lines[0]).not.toMatch(/canary/i);
  });

  it('stops the start with the line of a token that is missing', () => {
    const path = write('vault-again', 'a-vault-token');
    expect(problems(withSecret(`{ file: ${path} }`))).toEqual([
      'CONFIG_FILE line 3, repositories.0.token: expected a secret in the variable PLATFORM_TOKEN, which is not set or empty',
    ]);
  });
});
