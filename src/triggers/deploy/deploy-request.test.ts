import { describe, expect, it } from 'vitest';
import { parseDeployRequest } from './deploy-request.ts';
import type { RemoteRules } from './deploy-schema.ts';

const RULES: RemoteRules = { protocols: ['https', 'ssh'], hosts: [] };
const LEAST = { tool: 'terraform', git_url: 'https://github.com/acme/infra.git', git_ref: 'main' };
const PEM = '-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n';

function parse(fields: object, rules = RULES) {
  return parseDeployRequest({ ...LEAST, ...fields }, rules);
}

/** The names of the fields with a problem. */
function wrongFields(body: unknown, rules = RULES): string[] {
  const request = parseDeployRequest(body, rules);
  return request.ok ? [] : request.problems.map((problem) => /^[a-z_]+/.exec(problem)?.[0] ?? problem).sort();
}

function inputOf(fields: object) {
  const request = parse(fields);
  if (!request.ok) throw new Error(request.problems.join('; '));
  return request.input;
}

describe('A request for a deployment', () => {
  it('needs three fields; the rest has defaults', () => {
    expect(parseDeployRequest(LEAST, RULES)).toEqual({
      ok: true,
      input: {
        operation: 'apply',
        tool: 'terraform',
        toolVersion: null,
        gitUrl: 'https://github.com/acme/infra.git',
        gitRef: 'main',
        path: '.',
        tfvarsFiles: [],
        timeoutMs: 3_600_000,
        autoApprove: false,
        callbackUrl: null,
      },
      secrets: { environment: {}, git: null, initFlags: [], planFlags: [] },
      priority: 0,
      labels: [],
    });
  });

  it('may have all fields, and ignores unknown ones', () => {
    const body = {
      tool: 'tofu',
      git_url: 'https://github.com/acme/infra.git',
      git_ref: 'a'.repeat(40),
      path: './stacks//network/',
      env_vars: { TF_VAR_region: 'eu', AWS_SECRET_ACCESS_KEY: 'hunter2' },
      tfvars_files: ['prod.tfvars', '../../common.tfvars'],
      init_flags: '-upgrade -backend-config="key=a b"',
      plan_flags: "-var 'a=b c' -parallelism=3",
      timeout: 5,
      auto_approve: true,
      git_auth: { type: 'https', username: 'me', password: 'token' },
      destroy: true,
      tool_version: '1.11.4',
      priority: -3,
      labels: ['aws', 'aws', 'linux'],
      callback_url: 'https://hooks.example.com/done',
      unknown: { anything: [1] },
    };
    expect(parseDeployRequest(body, RULES)).toEqual({
      ok: true,
      input: {
        operation: 'destroy',
        tool: 'tofu',
        toolVersion: '1.11.4',
        gitUrl: 'https://github.com/acme/infra.git',
        gitRef: 'a'.repeat(40),
        path: 'stacks/network',
        tfvarsFiles: ['prod.tfvars', '../../common.tfvars'],
        timeoutMs: 300_000,
        autoApprove: true,
        callbackUrl: 'https://hooks.example.com/done',
      },
      secrets: {
        environment: { TF_VAR_region: 'eu', AWS_SECRET_ACCESS_KEY: 'hunter2' },
        git: { type: 'http', username: 'me', password: 'token' },
        initFlags: ['-upgrade', '-backend-config=key=a b'],
        planFlags: ['-var', 'a=b c', '-parallelism=3'],
      },
      priority: -3,
      labels: ['aws', 'linux'],
    });
  });

  it('treats null, and an empty path or empty flags, as left out', () => {
    const nothing = {
      path: '',
      env_vars: null,
      tfvars_files: null,
      init_flags: '',
      plan_flags: null,
      timeout: null,
      auto_approve: null,
      git_auth: null,
      destroy: null,
      tool_version: null,
      priority: null,
      labels: null,
      callback_url: null,
    };
    expect(parse(nothing)).toEqual(parse({}));
  });

  it.each([
    ['.', '.'],
    ['./', '.'],
    ['./a/', 'a'],
    ['a//b', 'a/b'],
    ['a/./b/', 'a/b'],
    ['..a/b..', '..a/b..'],
  ])('has one spelling for the path %s', (given, stored) => {
    expect(inputOf({ path: given }).path).toBe(stored);
  });
});

describe('Credentials of a request', () => {
  it('are removed from the address, wherever they came from', () => {
    const request = parse({ git_url: 'https://me:t%40ken@github.com/acme/infra.git' });
    expect(request).toMatchObject({
      input: { gitUrl: 'https://github.com/acme/infra.git' },
      secrets: { git: { type: 'http', username: 'me', password: 't@ken' } },
    });
    expect(JSON.stringify(request.ok && request.input)).not.toContain('ken');
    const both = parse({
      git_url: 'https://old:one@github.com/acme/infra.git',
      git_auth: { type: 'http', username: 'new', password: 'two' },
    });
    expect(both).toMatchObject({ secrets: { git: { username: 'new', password: 'two' } } });
  });

  it('may be an ssh key for an ssh address', () => {
    for (const git_url of ['git@github.com:acme/infra.git', 'ssh://git@github.com/acme/infra.git']) {
      const git_auth = { type: 'ssh', private_key: PEM, known_hosts: 'github.com ssh-ed25519 AAAA' };
      expect(parse({ git_url, git_auth })).toMatchObject({
        ok: true,
        secrets: { git: { type: 'ssh', privateKey: PEM, knownHosts: 'github.com ssh-ed25519 AAAA' } },
      });
      expect(wrongFields({ ...LEAST, git_url, git_auth: { type: 'http', password: 'x' } })).toEqual([
        'git_auth',
      ]);
    }
    expect(wrongFields({ ...LEAST, git_auth: { type: 'ssh', private_key: PEM } })).toEqual(['git_auth']);
  });

  it('are never repeated in a problem', () => {
    const canary = 'CANARY-5e1f';
    const bodies = [
      { env_vars: { 'A B': canary, LD_PRELOAD: canary, NUL: `${canary}\0` } },
      { git_auth: { type: 'http', username: `${canary}:`, password: `${canary}\n` } },
      { git_auth: { type: 'ssh', private_key: canary } },
      { git_auth: { type: canary } },
      { git_url: `https://me:${canary}@127.0.0.1/x` },
      { git_url: `ext::sh -c ${canary}` },
      { plan_flags: `-chdir=${canary}` },
      { tool: canary, timeout: canary, tool_version: canary, labels: [`${canary} `] },
    ];
    for (const body of bodies) {
      const request = parse(body);
      expect(request.ok).toBe(false);
      expect(JSON.stringify(request)).not.toContain(canary);
    }
  });
});

describe('A wrong request', () => {
  it.each([null, [], 'x', 1, true, undefined])('is refused when it is no object: %j', (body) => {
    expect(parseDeployRequest(body, RULES)).toEqual({
      ok: false,
      problems: ['The body must be a JSON object'],
    });
  });

  it('names each wrong field at once', () => {
    expect(wrongFields({})).toEqual(['git_ref', 'git_url', 'tool']);
    expect(
      wrongFields({
        tool: 'bash',
        git_url: '/etc',
        git_ref: '-x',
        path: '../x',
        env_vars: { A: 1 },
        tfvars_files: ['/etc/passwd'],
        init_flags: '-chdir=/',
        plan_flags: '"open',
        timeout: '60',
        auto_approve: 'false',
        git_auth: { type: 'http' },
        destroy: 1,
        tool_version: '../1',
        priority: 1.5,
        labels: ['a b'],
        callback_url: 'http://hooks.example.com',
      }),
    ).toEqual([
      'auto_approve',
      'callback_url',
      'destroy',
      'env_vars',
      'git_auth',
      'git_ref',
      'git_url',
      'init_flags',
      'labels',
      'path',
      'plan_flags',
      'priority',
      'tfvars_files',
      'timeout',
      'tool',
      'tool_version',
    ]);
  });

  const WRONG: [field: string, value: unknown][] = [
    ...['Terraform', '', 1, null, 'opentofu', ['tofu']].map((value): [string, unknown] => ['tool', value]),
    ...[
      '',
      1,
      'infra',
      '../infra',
      '/srv/infra.git',
      'file:///srv/infra.git',
      'ext::sh -c id',
      'EXT::sh',
      'fd::7',
      '--upload-pack=touch x',
      'http://github.com/a/b',
      'git://github.com/a/b',
      'https://localhost/a',
      'https://127.0.0.1/a',
      'https://2130706433/a',
      'https://0x7f.1/a',
      'https://[::ffff:127.0.0.1]/a',
      'https://169.254.169.254/latest',
      'https://10.0.0.1/a',
      'https://github.com/a\nb',
    ].map((value): [string, unknown] => ['git_url', value]),
    ...['', '-b', '--upload-pack=x', 'a b', 'a..b', 'x.lock', 'a:b', 'a\u0000', 7].map(
      (value): [string, unknown] => ['git_ref', value],
    ),
    ...['/', '/etc', '..', 'a/../..', 'a/../b', '../a', 'a\u0000b', '.git', 3, ['a']].map(
      (value): [string, unknown] => ['path', value],
    ),
    ...['60', 1.5, 0, -1, 1e9, Number.NaN, true, [1]].map((value): [string, unknown] => ['timeout', value]),
    ...['false', 'true', 0, 1, {}].map((value): [string, unknown] => ['auto_approve', value]),
    ...['true', 1].map((value): [string, unknown] => ['destroy', value]),
    ...[
      [],
      'A=b',
      { A: null },
      { A: 1 },
      { 'A=B': 'c' },
      { '': 'x' },
      { PATH: '/tmp' },
      { LD_PRELOAD: 'x' },
    ].map((value): [string, unknown] => ['env_vars', value]),
    ...['a.tfvars', [1], [''], ['/a'], ['../a'], ['a/../../b'], ['a\u0000']].map(
      (value): [string, unknown] => ['tfvars_files', value],
    ),
    ...["'open", '"open', 'end\\', ['-upgrade'], '-from-module=x', 'positional', 1].map(
      (value): [string, unknown] => ['init_flags', value],
    ),
    ...['-out=x', '--out x', '-state=x', '-destroy', '-chdir=..'].map((value): [string, unknown] => [
      'plan_flags',
      value,
    ]),
    ...[{}, 'x', [], { type: 'basic' }, { type: 'http' }, { type: 'http', password: '' }].map(
      (value): [string, unknown] => ['git_auth', value],
    ),
    ...['', 'latest', '../1', '1/2', 11].map((value): [string, unknown] => ['tool_version', value]),
    ...['1', 0.5, 1_001, -1_001].map((value): [string, unknown] => ['priority', value]),
    ...['aws', [''], ['a b'], [1], ['x'.repeat(65)]].map((value): [string, unknown] => ['labels', value]),
    ...[
      'ssh://example.com/x',
      'https://localhost/x',
      'https://me:secret@example.com/x',
      'ftp://example.com',
      'example.com',
      1,
    ].map((value): [string, unknown] => ['callback_url', value]),
  ];

  it.each(WRONG)('is refused for %s %j', (field, value) => {
    expect([...new Set(wrongFields({ ...LEAST, [field]: value }))]).toEqual([field]);
  });

  it('F14: may name private hosts only when they are listed, and then no other', () => {
    const rules = { protocols: ['https', 'http'], hosts: ['127.0.0.1:9999', 'git.internal'] };
    expect(wrongFields({ ...LEAST, git_url: 'http://127.0.0.1:9999/a.git' }, rules)).toEqual([]);
    expect(wrongFields({ ...LEAST, git_url: 'https://git.internal/a.git' }, rules)).toEqual([]);
    expect(wrongFields({ ...LEAST, git_url: 'http://127.0.0.1:9998/a.git' }, rules)).toEqual(['git_url']);
    expect(wrongFields({ ...LEAST, git_url: 'https://github.com/a.git' }, rules)).toEqual(['git_url']);
  });

  it('is answered with a bounded list of problems', () => {
    const env_vars = Object.fromEntries(Array.from({ length: 5_000 }, (_, index) => [`A${index}`, 1]));
    const request = parse({ env_vars });
    expect(request.ok || request.problems).toHaveLength(21);
  });
});
