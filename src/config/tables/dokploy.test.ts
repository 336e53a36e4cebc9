/** Dokploy's address and key are checked when they are used, and only then. */

import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../config.ts';
import { ConfigError } from '../../errors.ts';

const BASE = { WEBHOOK_SECRET: 'a-real-secret-0123', GIT_REPO_URL: 'https://github.com/acme/platform.git' };
const DOKPLOY = {
  ...BASE,
  CONFIG_HASH_STORE: 'dokploy',
  DOKPLOY_URL: 'https://cloud.example.com/api/',
  DOKPLOY_API_KEY: 'key+/=123',
};

describe('The configuration of Dokploy', () => {
  it('is off by default, whatever the variables of tasks contain', () => {
    const odd = { ...BASE, DOKPLOY_URL: 'cloud.example.com', DOKPLOY_API_KEY: 'a\nb' };
    expect(loadConfig(odd)).toMatchObject({ dokploy: null, selfHeal: false });
    expect(loadConfig(odd).taskEnvironment).toMatchObject({ DOKPLOY_URL: 'cloud.example.com' });
  });

  it('has the address and the key, and by default the address follows from INTERNAL_DOMAIN', () => {
    const expected = {
      dokploy: { url: 'https://cloud.example.com/api', apiKey: 'key+/=123' },
      selfHeal: true,
    };
    expect(loadConfig({ ...DOKPLOY, SELF_HEAL: 'true' })).toMatchObject(expected);
    const { DOKPLOY_URL: _url, ...rest } = DOKPLOY;
    expect(loadConfig({ ...rest, INTERNAL_DOMAIN: 'example.com', SELF_HEAL: 'true' })).toMatchObject(
      expected,
    );
  });

  it.each<[string, Record<string, string | undefined>, string]>([
    ['no key', { DOKPLOY_API_KEY: undefined }, 'DOKPLOY_API_KEY is missing'],
    ['a blank key', { DOKPLOY_API_KEY: '  ' }, 'DOKPLOY_API_KEY is missing'],
    ['a key with a line end inside', { DOKPLOY_API_KEY: 'CANARY\nkey' }, 'DOKPLOY_API_KEY is wrong'],
    ['no address', { DOKPLOY_URL: undefined }, 'DOKPLOY_URL is missing'],
    ['an address without a scheme', { DOKPLOY_URL: 'cloud.example.com' }, 'DOKPLOY_URL is wrong'],
    ['a password in the address', { DOKPLOY_URL: 'https://u:CANARY@x/api' }, 'DOKPLOY_URL is wrong'],
    ['a query in the address', { DOKPLOY_URL: 'https://x/api?token=CANARY' }, 'DOKPLOY_URL is wrong'],
    ['another store', { CONFIG_HASH_STORE: 'vault' }, 'CONFIG_HASH_STORE is wrong'],
    ['another answer', { SELF_HEAL: 'perhaps' }, 'SELF_HEAL is wrong'],
  ])('with %s is refused, without the value', (_what, changes, line) => {
    let problem: unknown;
    try {
      loadConfig({ ...DOKPLOY, ...changes });
    } catch (error) {
      problem = error;
    }
    expect(problem).toBeInstanceOf(ConfigError);
    expect(String(problem)).toContain(line);
    expect(String(problem)).not.toContain('CANARY');
  });
});
