import { expect, it } from 'vitest';
import { OIDC } from '../../config/tables/oidc.ts';
import { boundOf, nameFor, roleFor } from './oidc-people.ts';

function rules(text: string) {
  return { roles: OIDC.roles.schema.parse(text) };
}

it('The highest role of any rule counts, and nobody has one without a rule', () => {
  const given = rules('groups:staff=viewer, groups:ops=admin,team:a:b=operator');
  expect(roleFor(given, { groups: ['staff', 'ops'] })).toBe('admin');
  expect(roleFor(given, { groups: 'staff' })).toBe('viewer');
  expect(roleFor(given, { team: 'a:b' })).toBe('operator');
  for (const claims of [{}, { groups: ['op', 'ops '] }, { groups: { ops: true } }, { groups: [['ops']] }]) {
    expect(roleFor(given, claims)).toBeNull();
  }
});

it('A claim may be inside another one, or be named by a URL, and nothing is inherited', () => {
  const given = rules('realm_access.roles:ops=operator,https://example.com/roles:root=admin');
  expect(roleFor(given, { realm_access: { roles: ['ops'] } })).toBe('operator');
  expect(roleFor(given, { 'https://example.com/roles': ['root'] })).toBe('admin');
  expect(roleFor(rules('constructor.name:Object=admin'), {})).toBeNull();
  expect(roleFor(rules('groups.length:1=admin'), { groups: ['1'] })).toBeNull();
});

it('A rule without a claim, a value or a role is refused', () => {
  for (const text of [
    'groups=admin',
    'groups:=admin',
    ':x=admin',
    'groups:x',
    'groups:x=root',
    'groups:x=admin,y',
  ]) {
    expect(OIDC.roles.schema.safeParse(text).success, text).toBe(false);
  }
});

it('A person has the verified address as the name, or else what the provider calls them', () => {
  const all = { sub: '42', preferred_username: 'Ada L', email: 'ada@example.com' };
  expect(nameFor(all)).toBe('ada@example.com');
  expect(nameFor({ ...all, email_verified: false })).toBe('Ada_L');
  expect(nameFor({ sub: '42' })).toBe('42');
  expect(nameFor({ sub: 'a:b,c\n' })).toBe('a_b_c_');
});

it('Only https is a provider, but for this machine itself', () => {
  for (const url of [
    'https://login.example.com',
    'http://127.0.0.1:8080/x',
    'http://localhost',
    'http://[::1]:1',
  ]) {
    expect(OIDC.issuer.schema.safeParse(url).success, url).toBe(true);
  }
  for (const url of [
    'http://login.example.com',
    'ftp://x',
    'https://x/?a=1',
    'http://127.0.0.1.evil.example',
  ]) {
    expect(OIDC.issuer.schema.safeParse(url).success, url).toBe(false);
  }
});

it('Another rule, client or provider ends the sessions of before', () => {
  const config = { issuer: 'https://a', clientId: 'b', ...rules('g:x=admin') };
  const all = { ...config, clientSecret: 's', scopes: 'openid', publicUrl: 'https://c' };
  expect(boundOf({ ...all, clientSecret: 'new' })).toBe(boundOf(all));
  for (const change of [{ issuer: 'https://d' }, { clientId: 'd' }, rules('g:x=viewer')]) {
    expect(boundOf({ ...all, ...change })).not.toBe(boundOf(all));
  }
});
