import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import {
  loadApiClientConfig,
  loadClientConfig,
  loadConfig,
  loadUnknownVariables,
  loadWorkerConfig,
} from '../config.ts';

const folder = mkdtempSync(join(tmpdir(), 'secret-files-'));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const SECRET = 'a-secret-of-the-webhook';
const REST = { GIT_REPO_URL: 'https://github.com/acme/platform.git' };

describe('A secret in a file', () => {
  const WEBHOOK_SECRET_FILE = file('webhook', `${SECRET}\n`);

  it('is the value of its variable, without the final newline', () => {
    expect(loadConfig({ ...REST, WEBHOOK_SECRET_FILE }).webhookSecrets).toEqual([SECRET]);
    expect(loadClientConfig({ WEBHOOK_SECRET_FILE }).secret).toBe(SECRET);
    expect(loadApiClientConfig({ IAC_RUNNER_TOKEN_FILE: file('token', 'a-token\r\n') }).token).toBe(
      'a-token',
    );
  });

  it('loses one newline only', () => {
    const path = file('newlines', ' a-secret-of-the-webhook \n\n');
    const { secrets } = loadConfig({ ...REST, WEBHOOK_SECRET_FILE: path });
    expect(secrets.values).toContain(' a-secret-of-the-webhook \n');
  });

  it('is masked, and its path is not', () => {
    const { values, others } = loadConfig({ ...REST, WEBHOOK_SECRET_FILE }).secrets;
    expect(values).toContain(SECRET);
    expect([...values, ...Object.values(others)]).not.toContain(WEBHOOK_SECRET_FILE);
  });

  it('also works for the part of a value that is secret, and for a worker of jobs', () => {
    const path = file('redis', 'redis://:a-password@redis.internal:6379');
    expect(loadWorkerConfig({ REDIS_URL_FILE: path, ENCRYPTION_KEY: 'k'.repeat(32) }).jobs?.redisUrl).toMatch(
      /password/,
    );
    const tokens = file('tokens', 'ada:admin:0123456789abcdef-ada');
    expect(loadConfig({ ...REST, WEBHOOK_SECRET_FILE, API_TOKENS_FILE: tokens }).secrets.values).toContain(
      '0123456789abcdef-ada',
    );
  });

  it('is a known variable that no task gets', () => {
    expect(loadUnknownVariables({ ...REST, WEBHOOK_SECRET_FILE })).toEqual([]);
    const listed = { ...REST, WEBHOOK_SECRET_FILE, TASK_ENV: 'WEBHOOK_SECRET_FILE' };
    expect(() => loadConfig(listed)).toThrow('TASK_ENV is wrong');
  });

  it('does not exist for variables that hold no secret', () => {
    const path = file('branch', 'other');
    const { repositories } = loadConfig({ ...REST, WEBHOOK_SECRET_FILE, GIT_BRANCH_FILE: path });
    expect(repositories[0]?.environments[0]?.source).toEqual({ branch: 'main' });
    expect(loadUnknownVariables({ ...REST, API_TOKEN_FILE: path })).toEqual([
      'API_TOKEN_FILE is not a variable of iac-runner; did you mean API_TOKENS_FILE?',
    ]);
  });

  const missing = join(folder, 'missing');
  const empty = file('empty', '\n');
  const large = file('large', 'x'.repeat(64 * 1024 + 1));
  const directory = join(folder, 'directory');
  mkdirSync(directory);
  it.each([
    [missing, 'it cannot be read (ENOENT). Create it, and let the user of iac-runner read it.'],
    [empty, 'it is empty. Write the secret into it.'],
    [large, 'it has more than 64 KiB. Give the path of a secret.'],
    [directory, 'that is not a file. Give the path of a file.'],
    ['/dev/zero', 'that is not a file. Give the path of a file.'],
  ])('that is wrong stops the start: %s', (path, problem) => {
    const environment = { ...REST, WEBHOOK_SECRET_FILE: path };
    expect(() => loadConfig(environment)).toThrow(
      `WEBHOOK_SECRET_FILE names the file ${path}, but ${problem}`,
    );
  });

  it('that is too short is wrong like the same value in the variable, and is not shown', () => {
    const environment = { ...REST, WEBHOOK_SECRET_FILE: file('short', 'short') };
    expect(() => loadConfig(environment)).toThrow(/^WEBHOOK_SECRET is wrong: (?!.*\bshort\b)/);
  });

  it('cannot be given beside its variable', () => {
    const environment = { ...REST, WEBHOOK_SECRET: SECRET, WEBHOOK_SECRET_FILE };
    expect(() => loadConfig(environment)).toThrow(
      'WEBHOOK_SECRET and WEBHOOK_SECRET_FILE are both set. Remove one of them.',
    );
  });
});
