/**
 * Checks that one list says which variables are masked and which no task gets. The list is made from the tables of
 * variables.
 */

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { neverForTasks } from '../config/secrets.ts';
import { loadConfig, loadWorkerConfig, VARIABLES } from '../config.ts';
import { createLocalExecutor } from '../executor/local.ts';
import { isSecretName } from '../process/environment.ts';
import { createSealer } from '../triggers/seal.ts';
import { secretsOf } from './sync.ts';

const TABLE: Readonly<Record<string, (typeof VARIABLES)[keyof typeof VARIABLES]>> = VARIABLES;
const MARKED = Object.entries(TABLE).filter(([, variable]) => variable.secret !== undefined);

/** Each variable that is marked has a value of the right form, with a part that nobody may see. */
const canaryOf = (name: string) => `canary-${name.toLowerCase().replaceAll('_', '-')}`;
const FORMS: Record<string, string> = {
  API_TOKENS: `ada:admin:${canaryOf('API_TOKENS')}`,
  ENCRYPTION_KEY: canaryOf('ENCRYPTION_KEY').padEnd(32, '-'),
  ENCRYPTION_KEY_PREVIOUS: canaryOf('ENCRYPTION_KEY_PREVIOUS').padEnd(32, '-'),
  EVENT_WEBHOOK_SECRET: `whsec_${Buffer.from(canaryOf('EVENT_WEBHOOK_SECRET')).toString('base64')}`,
  EVENT_WEBHOOK_URL: `https://hooks.example.com/${canaryOf('EVENT_WEBHOOK_URL')}`,
  GIT_REPO_URL: `https://user:${canaryOf('GIT_REPO_URL')}@github.com/acme/platform.git`,
  REDIS_URL: `redis://:${canaryOf('REDIS_URL')}@redis.example.com:6379`,
  STORE_URL: `postgres://runner:${canaryOf('STORE_URL')}@postgres.example.com/runner`,
};
/** These variables of other programs reach no task either, because TASK_ENV does not name them. */
const OTHERS = {
  VAULT_APP_TOKEN: 'canary-vault-app-token',
  SMTP_PASSWORD: 'canary-smtp-password',
  DATABASE_URL: 'postgres://app:canary-database-url@db.example.com/app',
};
const ENVIRONMENT = {
  ...Object.fromEntries(MARKED.map(([name]) => [name, FORMS[name] ?? canaryOf(name)])),
  ...OTHERS,
  TASK_ENV: 'ENV',
  HARMLESS: 'not-a-secret',
};

describe('A variable that holds a secret', () => {
  it('is marked as such in its table', () => {
    const unmarked = Object.entries(TABLE).filter(
      ([name, { example, secret }]) =>
        secret === undefined && (isSecretName(name) || /:\/\/[^/]*:[^/]*@/.test(example)),
    );
    expect(unmarked.map(([name]) => name)).toEqual([]);
  });

  it('is never seen in the output of a task that reads the environment of the server', async () => {
    const lines: string[] = [];
    const executor = createLocalExecutor({ secrets: secretsOf(loadConfig(ENVIRONMENT)) });
    // Its environment holds what that of the server does, without being given any secret to mask by name.
    const printed = Object.entries(ENVIRONMENT).map(([name, value]) => `${name}=${value}`);
    await executor.run(
      {
        argv: ['/bin/sh', '-c', 'printf "%s\\n" "$@"; printf "%s" "$*" | base64', 'sh', ...printed],
        cwd: '/',
        env: { PATH: process.env.PATH ?? '' },
        timeoutMs: 60_000,
        signal: new AbortController().signal,
      },
      { onStart() {}, onLines: (_stream, more) => void lines.push(...more) },
    );
    const output = lines.join('\n');
    expect(output).toContain('HARMLESS=not-a-secret');
    expect(output).not.toContain('canary');
    const unwrapped = Buffer.from(output.replaceAll('\n', ''), 'base64').toString('latin1');
    expect(unwrapped).not.toContain('canary');
    for (const [name] of MARKED) expect(output).toMatch(new RegExp(`^${name}=.*\\*{4}`, 'm'));
  });

  it('is refused in TASK_ENV and AGENT_ENV, unless its table says that tasks may have it', () => {
    const never = neverForTasks(VARIABLES);
    expect(never).toEqual(expect.arrayContaining(['WEBHOOK_SECRET', 'SYNC_SECRET', 'REDIS_URL', 'DATA_DIR']));
    expect(never).not.toContain('DOKPLOY_API_KEY');
    const documented = readFileSync(path.join(import.meta.dirname, '../../docs/tasks.md'), 'utf8');
    const isFile = (name: string): boolean => name.endsWith('_FILE');
    expect(never.filter((name) => !isFile(name) && !documented.includes(`\`${name}\``))).toEqual([]);
    expect(never.filter(isFile)).toEqual(MARKED.map(([name]) => `${name}_FILE`));
    for (const name of never) {
      for (const list of ['TASK_ENV', 'AGENT_ENV']) {
        const load = () => loadConfig({ ...ENVIRONMENT, [list]: `ENV,${name}` });
        expect(load).toThrow(new RegExp(`^${list} is wrong: expected [^\n]*$`));
      }
    }
    expect(loadConfig({ ...ENVIRONMENT, TASK_ENV: 'DOKPLOY_API_KEY' }).taskEnvironment).toEqual({
      DOKPLOY_API_KEY: 'canary-dokploy-api-key',
    });
  });

  it('is masked for the agent of a worker, too, and refused to it', () => {
    const environment = { REDIS_URL: FORMS.REDIS_URL, ENCRYPTION_KEY: FORMS.ENCRYPTION_KEY };
    const { jobs } = loadWorkerConfig(environment);
    expect(jobs && secretsOf(jobs)).toEqual(
      expect.arrayContaining([canaryOf('REDIS_URL'), FORMS.ENCRYPTION_KEY]),
    );
    expect(() => loadWorkerConfig({ ...environment, AGENT_ENV: 'REDIS_URL' })).toThrow('AGENT_ENV is wrong');
  });
});

describe('A key that is none of 32 bytes', () => {
  it.each(['ENCRYPTION_KEY', 'ENCRYPTION_KEY_PREVIOUS'])('is refused as %s, and not shown', (name) => {
    for (const value of ['short', 'x', 'g'.repeat(64), 'a'.repeat(31), 'é'.repeat(32)]) {
      expect(() => loadConfig({ ...ENVIRONMENT, [name]: value })).toThrow(
        new RegExp(
          `^${name} is wrong: expected a key of 32 bytes: 64 hexadecimal digits, 44 characters of base64, or 32 characters, e\\.g\\. the [^\n]*$`,
        ),
      );
    }
    const forms = ['0a'.repeat(32), Buffer.alloc(32).toString('base64'), ' a key between blanks'.padEnd(32)];
    for (const value of forms) loadConfig({ ...ENVIRONMENT, [name]: value });
  });
});

describe('What was sealed', () => {
  const GIVEN = { WEBHOOK_SECRET: 'the first webhook secret', GIT_REPO_URL: '/srv/platform.git' };
  const FIRST = 'the first key, 32 characters now';
  const SECOND = 'the next key, of 32 bytes, again';
  const sealerOf = (environment: Record<string, string>) =>
    createSealer(loadConfig({ ...GIVEN, ...environment }).sealingKeys);

  it('is opened after ENCRYPTION_KEY is set for the first time, and is sealed with that from then on', () => {
    const before = sealerOf({}).seal('credentials');
    const after = sealerOf({ ENCRYPTION_KEY: FIRST });
    expect(after.open(before)).toBe('credentials');
    const again = after.seal('credentials');
    expect(createSealer([FIRST]).open(again)).toBe('credentials');
  });

  it('is opened after ENCRYPTION_KEY or WEBHOOK_SECRET was replaced, while the previous one is known', () => {
    const byKey = sealerOf({ ENCRYPTION_KEY: FIRST }).seal('credentials');
    const keys = { ENCRYPTION_KEY: SECOND, ENCRYPTION_KEY_PREVIOUS: FIRST };
    expect(sealerOf(keys).open(byKey)).toBe('credentials');
    const bySecret = sealerOf({}).seal('credentials');
    const secrets = {
      WEBHOOK_SECRET: 'the second webhook secret',
      WEBHOOK_SECRET_PREVIOUS: GIVEN.WEBHOOK_SECRET,
    };
    expect(sealerOf({ ...secrets, ENCRYPTION_KEY: FIRST }).open(bySecret)).toBe('credentials');
    expect(sealerOf(secrets).open(bySecret)).toBe('credentials');
  });
});
