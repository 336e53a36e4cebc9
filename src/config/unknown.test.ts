/** Variables that look like ours and are none are reported at the start; those of other programs are not. */

import { describe, expect, it } from 'vitest';
import {
  loadApiClientConfig,
  loadClientConfig,
  loadConfig,
  loadUnknownVariables,
  loadWorkerConfig,
} from '../config.ts';

const OURS = {
  WEBHOOK_SECRET: 'a secret of this test',
  GIT_REPO_URL: 'https://github.com/acme/platform.git',
  SYNC_RETRIES: '3',
  IAC_RUNNER_TOKEN: 'a token of this test',
};

describe('A variable that is not one of iac-runner', () => {
  it.each([
    ['with one letter changed', 'SYNC_RETRYES', 'SYNC_RETRIES'],
    ['with one letter left out', 'WEBHOK_SECRET', 'WEBHOOK_SECRET'],
    ['with one letter too many', 'GITHUB_TOKENS', 'GITHUB_TOKEN'],
    ['with two neighbours swapped', 'GIT_BARNCH', 'GIT_BRANCH'],
    ['with one letter too many', 'API_TOKKENS', 'API_TOKENS'],
    ['with one letter left out', 'LOG_LEVL', 'LOG_LEVEL'],
    ['with two neighbours swapped', 'WEBHOOK_SECRET_FIEL', 'WEBHOOK_SECRET_FILE'],
    ['with one letter left out', 'GITHUB_TOKENFILE', 'GITHUB_TOKEN_FILE'],
    ['with one letter left out', 'API_TOKENS_FLE', 'API_TOKENS_FILE'],
    ['with one letter too many', 'GITHUB_TOKEN_FILES', 'GITHUB_TOKEN_FILE'],
    ['with our prefix', 'SYNC_RETRYS', 'SYNC_RETRIES'],
    ['with our prefix', 'PLAN_HOSTS', 'PLAN_CHECKS'],
    ['with our prefix', 'STEP_MEMORY', 'STEP_MEMORY_MB'],
    ['with our prefix', 'EXECUTOR_COMMAND_2', 'EXECUTOR_COMMAND'],
    ['with our prefix', 'WEBHOOK_SECRET_OLD', 'WEBHOOK_SECRET'],
    ['with our prefix', 'DOKPLOY_KEY', 'DOKPLOY_URL'],
    ['with our prefix', 'IAC_RUNNER_KEY', 'IAC_RUNNER_URL'],
  ])('%s is named with the nearest that is: %s', (_how, name, nearest) => {
    const lines = loadUnknownVariables({ ...OURS, [name]: 'canary' });
    expect(lines).toEqual([`${name} is not a variable of iac-runner; did you mean ${nearest}?`]);
  });

  it('is also named when the variable that was meant is missing', () => {
    const { WEBHOOK_SECRET: _missing, ...others } = OURS;
    const misspelled = { ...others, WEBHOK_SECRET: 'canary' };
    const line = 'WEBHOK_SECRET is not a variable of iac-runner; did you mean WEBHOOK_SECRET?';
    for (const load of [loadConfig, loadClientConfig]) {
      expect(() => load(misspelled)).toThrow(/^WEBHOOK_SECRET is missing: /);
      expect(() => load(misspelled)).toThrow(line);
    }
    expect(() => loadWorkerConfig({ STORE_ULR: 'canary' })).toThrow('did you mean STORE_URL?');
    expect(() => loadApiClientConfig({ IAC_RUNNER_TOKE: 'canary' })).toThrow(
      'did you mean IAC_RUNNER_TOKEN?',
    );
  });

  it('is not reported when tasks or agents get it, or when it is blank', () => {
    const given = { SYNC_RETRYS: '3', DOKPLOY_KEY: 'a key', PLAN_HOSTS: ' ' };
    expect(
      loadUnknownVariables({ ...given, TASK_ENV: 'ENV, SYNC_RETRYS', AGENT_ENV: 'DOKPLOY_KEY' }),
    ).toEqual([]);
  });
});

/** The variables of such environments besides our own. */
const USUAL: Record<string, string> = {
  'a shell': `BASH COLORTERM COLUMNS DISPLAY EDITOR HISTFILE HISTSIZE HOME HOSTNAME HOSTTYPE LANG LANGUAGE LC_ALL
    LC_CTYPE LESS LESSCLOSE LESSOPEN LINES LOGNAME LS_COLORS MACHTYPE MAIL OLDPWD OSTYPE PAGER PATH PS1 PWD SHELL SHLVL
    SSH_AUTH_SOCK SSH_CLIENT SSH_CONNECTION SSH_TTY SUDO_COMMAND SUDO_GID SUDO_UID SUDO_USER TEMP TERM TMP TMPDIR TZ
    USER VISUAL XDG_CACHE_HOME XDG_CONFIG_HOME XDG_DATA_DIRS XDG_RUNTIME_DIR XDG_SESSION_ID _ http_proxy no_proxy`,
  'programs for developers': `ANSIBLE_CONFIG AWS_ACCESS_KEY_ID AWS_PROFILE AWS_REGION CARGO_HOME CI CLOUDFLARE_TOKEN
    COMPOSE_PROJECT_NAME DATABASE_URL DEBIAN_FRONTEND DEBUG DOCKER_CONFIG DOCKER_GROUP_ID DOCKER_HOST GH_TOKEN
    GIT_ASKPASS GIT_AUTHOR_NAME GIT_CONFIG_COUNT GIT_DIR GIT_EDITOR GIT_SSH GIT_SSH_COMMAND GIT_TERMINAL_PROMPT
    GIT_TRACE GOOGLE_APPLICATION_CREDENTIALS GOPATH HTTPS_PROXY HTTP_PROXY KUBECONFIG LOG_FORMAT MAX_OLD_SPACE_SIZE
    NODE_ENV NODE_EXTRA_CA_CERTS NODE_OPTIONS NODE_VERSION NO_COLOR NO_PROXY NPM_CONFIG_CACHE PGHOST PGPASSWORD
    PORT POSTGRES_PASSWORD POSTGRES_URL PUBSUB_EMULATOR_HOST PUBSUB_PROJECT_ID PYTHONPATH REDIS_HOST REDIS_PASSWORD
    REDIS_PORT SSL_CERT_FILE TF_LOG TF_PLUGIN_CACHE_DIR TF_VAR_region VAULT_ADDR VAULT_TOKEN VIRTUAL_ENV WORKER_COUNT
    YARN_VERSION npm_config_user_agent npm_lifecycle_event`,
  Kubernetes: `HOSTNAME KUBERNETES_PORT KUBERNETES_PORT_443_TCP KUBERNETES_PORT_443_TCP_ADDR
    KUBERNETES_PORT_443_TCP_PORT KUBERNETES_PORT_443_TCP_PROTO KUBERNETES_SERVICE_HOST KUBERNETES_SERVICE_PORT
    KUBERNETES_SERVICE_PORT_HTTPS NAMESPACE NODE_NAME POD_IP POD_NAME POD_NAMESPACE SERVICE_ACCOUNT
    IAC_RUNNER_PORT IAC_RUNNER_PORT_8080_TCP IAC_RUNNER_PORT_8080_TCP_ADDR IAC_RUNNER_PORT_8080_TCP_PORT
    IAC_RUNNER_PORT_8080_TCP_PROTO IAC_RUNNER_SERVICE_HOST IAC_RUNNER_SERVICE_PORT IAC_RUNNER_SERVICE_PORT_HTTP
    DOKPLOY_PORT DOKPLOY_PORT_3000_TCP DOKPLOY_SERVICE_HOST DOKPLOY_SERVICE_PORT REDIS_PORT_6379_TCP
    REDIS_SERVICE_HOST`,
  'GitHub Actions': `ACTIONS_CACHE_URL ACTIONS_ID_TOKEN_REQUEST_TOKEN ACTIONS_RUNTIME_TOKEN AGENT_TOOLSDIRECTORY CI
    GITHUB_ACTION GITHUB_ACTIONS GITHUB_ACTOR GITHUB_BASE_REF GITHUB_ENV GITHUB_EVENT_NAME GITHUB_EVENT_PATH
    GITHUB_GRAPHQL_URL GITHUB_HEAD_REF GITHUB_JOB GITHUB_OUTPUT GITHUB_PATH GITHUB_REF GITHUB_REF_NAME
    GITHUB_REPOSITORY_ID GITHUB_REPOSITORY_OWNER GITHUB_RUN_ID GITHUB_SERVER_URL GITHUB_SHA GITHUB_STEP_SUMMARY
    GITHUB_WORKFLOW GITHUB_WORKSPACE ImageOS ImageVersion JAVA_HOME PIPX_BIN_DIR RUNNER_ARCH RUNNER_DEBUG
    RUNNER_ENVIRONMENT RUNNER_NAME RUNNER_OS RUNNER_TEMP RUNNER_TOOL_CACHE RUNNER_TRACKING_ID RUNNER_WORKSPACE`,
  'GitLab, Jenkins and Buildkite': `BUILDKITE_AGENT_ID BUILD_ID BUILD_NUMBER CI_COMMIT_SHA CI_JOB_ID CI_JOB_TOKEN
    CI_PROJECT_DIR CI_RUNNER_ID GITLAB_CI GIT_AUTHOR_EMAIL GIT_COMMIT GIT_LOCAL_BRANCH
    GIT_PREVIOUS_COMMIT GIT_URL JENKINS_URL JOB_BASE_NAME JOB_NAME JOB_URL NODE_LABELS RUNNER_TEMP_PROJECT_DIR
    STAGE_NAME WORKSPACE WORKSPACE_TMP`,
  systemd: `CACHE_DIRECTORY CONFIGURATION_DIRECTORY CREDENTIALS_DIRECTORY EXIT_CODE EXIT_STATUS FDSTORE INVOCATION_ID
    JOURNAL_STREAM LISTEN_FDNAMES LISTEN_FDS LISTEN_PID LOGS_DIRECTORY MAINPID MANAGERPID NOTIFY_SOCKET
    RUNTIME_DIRECTORY SERVICE_RESULT STATE_DIRECTORY SYSTEMD_EXEC_PID WATCHDOG_PID WATCHDOG_USEC`,
};

describe('The usual environment', () => {
  it.each(Object.entries(USUAL))('of %s gives no false alarm', (_what, names) => {
    const given = names.split(/\s+/).map((name) => [name, 'x']);
    expect(loadUnknownVariables({ ...OURS, ...Object.fromEntries(given) })).toEqual([]);
  });
});
