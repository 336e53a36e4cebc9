import { describe, expect, it } from 'vitest';
import { describeProblem } from '../../yaml-file.ts';
import { parseDriftFile } from './drift-file.ts';

const OPTIONS = {
  rules: { protocols: ['https', 'ssh'], hosts: [] },
  environment: { AWS_REGION: 'eu-west-1', PROD_KEY: 'k3y-value', GIT_PASSWORD: 'p4ss-value', EMPTY: '' },
};

const GOOD = `
targets:
  - name: network
    git_url: https://git.example.com/infra.git
    git_ref: main
    tool: tofu
`;

function problems(text: string): string[] {
  const parsed = parseDriftFile(text, OPTIONS);
  return parsed.ok ? [] : parsed.problems.map((problem) => describeProblem('drift.yaml', problem));
}

describe('The file of drift targets', () => {
  it('needs only a few fields', () => {
    const parsed = parseDriftFile(GOOD, OPTIONS);
    expect(parsed).toMatchObject({
      ok: true,
      targets: [
        {
          name: 'network',
          input: { operation: 'drift', autoApprove: false, path: '.', gitRef: 'main', tool: 'tofu' },
          secrets: { environment: {}, git: null },
          priority: -1,
          labels: [],
          intervalMs: null,
        },
      ],
    });
  });

  it('accepts the fields of a request, and credentials by the names of variables', () => {
    const text = `${GOOD}
    path: ./network/
    tool_version: "1.9.0"
    tfvars_files: [prod.tfvars]
    init_flags: -backend-config=prod.hcl
    plan_flags: -lock=false -var 'a=b c'
    timeout: 5
    priority: 3
    labels: [aws]
    callback_url: https://hooks.example.com/drift
    interval: 3600
    env: [AWS_REGION, AWS_ACCESS_KEY_ID=PROD_KEY]
    git_auth: { type: http, username: bot, password_env: GIT_PASSWORD }
`;
    expect(parseDriftFile(text, OPTIONS)).toMatchObject({
      ok: true,
      targets: [
        {
          input: {
            path: 'network',
            toolVersion: '1.9.0',
            tfvarsFiles: ['prod.tfvars'],
            timeoutMs: 300_000,
            callbackUrl: 'https://hooks.example.com/drift',
          },
          secrets: {
            environment: { AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'k3y-value' },
            git: { type: 'http', username: 'bot', password: 'p4ss-value' },
            initFlags: ['-backend-config=prod.hcl'],
            planFlags: ['-lock=false', '-var', 'a=b c'],
          },
          priority: 3,
          labels: ['aws'],
          intervalMs: 3_600_000,
        },
      ],
    });
  });

  it.each([
    ['a file that is not YAML', 'targets: [\n', /^drift.yaml line \d/],
    ['a file without targets', '', /targets/],
    ['an unknown field', `${GOOD}    auto_approve: true\n`, /line 7, targets.0.auto_approve: /],
    [
      'a bad tool',
      GOOD.replace('tofu', 'pulumi'),
      /^drift.yaml line 6, targets.0.tool: must be terraform or/,
    ],
    ['a missing field', GOOD.replace(/ +tool.*\n/, ''), /line 3, targets.0.tool: is required/],
    [
      'a local repository',
      GOOD.replace('https:', 'file:'),
      /line 4, targets.0.git_url: must be an absolute URL/,
    ],
    ['a path that leads out', `${GOOD}    path: ../x\n`, /line 7, targets.0.path: /],
    ['a flag that is not allowed', `${GOOD}    plan_flags: -out=x\n`, /line 7, targets.0.plan_flags: -out/],
    ['a second target of a name', GOOD + GOOD.replace('\ntargets:\n', ''), /line 7, targets.1.name: another/],
    ['a variable that is not set', `${GOOD}    env: [NOPE]\n`, /line 7, targets.0.env.0: NOPE is not set/],
    ['an empty variable', `${GOOD}    env: [EMPTY]\n`, /EMPTY is not set/],
    ['a word of the language', `${GOOD}    env: [constructor]\n`, /constructor is not set/],
    ['a value', `${GOOD}    env: ["A=b c"]\n`, /line 7, targets.0.env.0: expected NAME/],
    [
      'one of our own variables',
      `${GOOD}    env: [LD_PRELOAD=PROD_KEY]\n`,
      /line 7, targets.0.env: LD_PRELOAD /,
    ],
    [
      'a password that is not set',
      `${GOOD}    git_auth:\n      type: http\n      password_env: NOPE\n`,
      /line 9, targets.0.git_auth.password_env: NOPE is not set/,
    ],
    ['a password', `${GOOD}    git_auth: { type: http, password: x }\n`, /line 7, targets.0.git_auth/],
    [
      'a key that is none',
      GOOD.replace('https://', 'ssh://git@') +
        '    git_auth:\n      type: ssh\n      private_key_env: PROD_KEY\n',
      /line 9, targets.0.git_auth.private_key_env: must be a private key/,
    ],
    [
      'credentials in an address',
      GOOD.replace('//', '//u:s3cret@'),
      /line 4, targets.0.git_url: must not hold/,
    ],
  ])('names line and field of %s', (_what, text, expected) => {
    const found = problems(text);
    expect(found.join('\n')).toMatch(expected);
    expect(found.join()).not.toMatch(/value|s3cret/);
  });
});
