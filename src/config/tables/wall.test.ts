/** The program refuses to start when other people's code could read its secrets. */

import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../config.ts';

const BASE = {
  WEBHOOK_SECRET: 'a-secret-of-a-test-0123',
  GIT_REPO_URL: 'https://github.com/acme/platform.git',
};
const PUBSUB = {
  PUBSUB_AUDIENCE: 'https://iac.example.com/pubsub/push',
  PUBSUB_SERVICE_ACCOUNT: 'pubsub@project.iam.gserviceaccount.com',
};
const EXECUTOR = { EXECUTOR: 'isolated', EXECUTOR_COMMAND: 'sudo -n -u runner iac-runner exec' };

const RUNS_CODE_OF_OTHERS: [what: string, settings: Record<string, string>][] = [
  ['PLANS', { PLANS: 'true' }],
  ['COMMENT_COMMANDS', { COMMENT_COMMANDS: 'true' }],
  ['Pub/Sub', PUBSUB],
  ['Pub/Sub', { PUBSUB_ALLOW_UNAUTHENTICATED: 'true' }],
];

describe('The wall', () => {
  it.each(RUNS_CODE_OF_OTHERS)('is needed to start with %s %j', (what, settings) => {
    const refusal = expect.objectContaining({
      message: expect.stringContaining(`${what} is on, but EXECUTOR_COMMAND is not set`),
      nextAction: expect.stringContaining('TRUST_PULL_REQUEST_AUTHORS=true'),
    });
    expect(() => loadConfig({ ...BASE, ...settings })).toThrow(refusal);
    // A process of its own, but of the same user.
    expect(() => loadConfig({ ...BASE, ...settings, EXECUTOR: 'isolated' })).toThrow(refusal);
    expect(() => loadConfig({ ...BASE, ...settings, TRUST_OPERATORS: 'true' })).toThrow(refusal);
    expect(() => loadConfig({ ...BASE, ...settings, TRUST_PULL_REQUEST_AUTHORS: 'yes' })).toThrow();
  });

  it.each(RUNS_CODE_OF_OTHERS)(
    'is not needed with %s %j when the operator declares that',
    (_what, settings) => {
      for (const permission of [{ TRUST_PULL_REQUEST_AUTHORS: 'true' }, EXECUTOR]) {
        expect(loadConfig({ ...BASE, ...settings, ...permission }).wall.pullRequests).toBe(true);
      }
    },
  );

  it('is decided for operators separately, and does not stop the start for them', () => {
    expect(loadConfig(BASE).wall).toEqual({ pullRequests: false, operators: false });
    expect(loadConfig({ ...BASE, TRUST_OPERATORS: 'true' }).wall).toEqual({
      pullRequests: false,
      operators: true,
    });
    expect(loadConfig({ ...BASE, ...EXECUTOR }).wall).toEqual({ pullRequests: true, operators: true });
  });
});
