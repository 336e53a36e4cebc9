import { expect, it } from 'vitest';
import { environmentProblem } from './tool-environment.ts';

it.each([
  ['AWS_ACCESS_KEY_ID', 'x'],
  ['AWS_PROFILE', ''],
  ['ARM_CLIENT_SECRET', 'x'],
  ['GOOGLE_CREDENTIALS', '{\n}'],
  ['KUBE_CONFIG_PATH', 'x'],
  ['GITHUB_TOKEN', 'x'],
  ['TF_VAR_region', 'eu'],
  ['TF_VAR_with-dash', 'eu'],
  ['TF_WORKSPACE', 'prod'],
  ['TF_TOKEN_app_terraform_io', 'x'],
  ['TF_HTTP_PASSWORD', 'x'],
  ['TF_CLOUD_ORGANIZATION', 'x'],
  ['TF_ENCRYPTION', 'x'],
  ['TF_LOG', 'WARN'],
  ['TF_LOG_PROVIDER', 'info'],
  ['TF_INPUT', 'false'],
  ['TF_IN_AUTOMATION', 'yes'],
  ['CHECKPOINT_DISABLE', '1'],
  ['lower_case', 'x'],
])('lets a request set %s=%s', (name, value) => {
  expect(environmentProblem(name, value)).toBe(null);
});

it.each([
  ...['PATH', 'HOME', 'TMPDIR', 'ENV', 'BASH_ENV', 'SHELLOPTS', 'IFS', 'NODE_OPTIONS', 'PYTHONSTARTUP'],
  ...['PYTHONPATH', 'PERL5OPT', 'RUBYOPT', 'LD_PRELOAD', 'LD_LIBRARY_PATH', 'DYLD_INSERT_LIBRARIES'],
  ...['GIT_SSH_COMMAND', 'GIT_CONFIG_COUNT', 'GIT_ALLOW_PROTOCOL', 'IAC_RUN_ID', 'IAC_PLAN_FILE'],
  ...['TF_CLI_ARGS', 'TF_CLI_ARGS_plan', 'TF_CLI_CONFIG_FILE', 'TERRAFORM_CONFIG', 'TF_DATA_DIR'],
  ...['TF_PLUGIN_CACHE_DIR', 'TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE', 'TF_REATTACH_PROVIDERS'],
  ...['TF_DISABLE_PLUGIN_TLS', 'TF_SKIP_PROVIDER_VERIFY', 'TF_LOG_PATH', 'TF_TEMP_LOG_PATH', 'TF_FORK'],
  ...['TF_STATE', 'TF_VAR_', 'CHECKPOINT_TIMEOUT', 'XDG_CONFIG_HOME', 'TOFU_CPU_PROFILE', 'SSH_AUTH_SOCK'],
  ...['HTTPS_PROXY', 'https_proxy', 'SSL_CERT_FILE'],
  ...['', 'A B', 'A=B', '1A', 'BASH_FUNC_x%%', 'Ä'],
])('F46: refuses %j, saying so', (name) => {
  expect(environmentProblem(name, 'hunter2')).toMatch(/is (not allowed|no name)/);
});

it('environmentProblem refuses values that no process can be given, and those that would show secrets or wait for somebody', () => {
  expect(environmentProblem('A', 'a\0b')).toContain('NUL');
  expect(environmentProblem('A', 'ä'.repeat(70_000))).toContain('128 KiB');
  expect(environmentProblem('TF_LOG', 'TRACE')).toContain('secrets');
  expect(environmentProblem('TF_LOG_CORE', 'json')).toContain('secrets');
  expect(environmentProblem('TF_INPUT', '1')).toContain('answer');
});

it('F41: environmentProblem never quotes the value', () => {
  for (const name of ['PATH', 'A B', 'TF_LOG', 'TF_X', 'TF_INPUT']) {
    expect(environmentProblem(name, 'hunter2-hunter2')).not.toContain('hunter2');
  }
});
