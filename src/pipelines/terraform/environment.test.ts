import { expect, it } from 'vitest';
import { toolEnvironment } from './environment.ts';

const OPTIONS = {
  runId: 'run-1',
  home: '/run/home',
  tempDir: '/run/tmp',
  dataDir: '/run/data',
  cliConfigFile: '/run/cli.tfrc',
  plumbing: {
    PATH: '/bin',
    HOME: '/root',
    USER: 'root',
    LANG: 'de_DE.UTF-8',
    HTTPS_PROXY: 'http://proxy',
    SSH_AUTH_SOCK: '/agent',
    DOCKER_HOST: 'unix:///docker',
    WEBHOOK_SECRET: 's',
  },
  requested: { AWS_REGION: 'eu', TF_VAR_a: 'b', TF_IN_AUTOMATION: 'no', DOCKER_HOST: 'tcp://theirs' },
  gitProtocols: ['https', 'ssh'],
};

it('F42: The environment of a tool contains only variables of the operator, of the request, and our own', () => {
  expect(toolEnvironment(OPTIONS)).toEqual({
    PATH: '/bin',
    LANG: 'de_DE.UTF-8',
    HTTPS_PROXY: 'http://proxy',
    AWS_REGION: 'eu',
    TF_VAR_a: 'b',
    DOCKER_HOST: 'tcp://theirs',
    HOME: '/run/home',
    TMPDIR: '/run/tmp',
    TF_IN_AUTOMATION: '1',
    TF_INPUT: '0',
    TF_CLI_CONFIG_FILE: '/run/cli.tfrc',
    TF_DATA_DIR: '/run/data',
    CHECKPOINT_DISABLE: '1',
    GIT_ALLOW_PROTOCOL: 'https:ssh',
    GIT_TERMINAL_PROMPT: '0',
    IAC_RUN_ID: 'run-1',
  });
});

it('F46: The environment of a tool refuses variables that a request may not set, and does not quote the value', () => {
  for (const name of ['LD_PRELOAD', 'TF_CLI_ARGS_plan', 'GIT_SSH_COMMAND', 'PATH']) {
    const requested = { [name]: 'hunter2-hunter2' };
    expect(() => toolEnvironment({ ...OPTIONS, requested })).toThrow(`env_vars: ${name} is not allowed`);
    expect(() => toolEnvironment({ ...OPTIONS, requested })).not.toThrow('hunter2');
  }
});

it('The environment of a tool uses /tmp if the path of a socket in the run’s own folder would be too long', () => {
  expect(toolEnvironment({ ...OPTIONS, tempDir: `/${'x'.repeat(65)}` }).TMPDIR).toHaveLength(66);
  expect(toolEnvironment({ ...OPTIONS, tempDir: `/${'x'.repeat(66)}` }).TMPDIR).toBe('/tmp');
});
