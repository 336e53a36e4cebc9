/** The environment of Terraform and OpenTofu, built from nothing. */

import { RunnerError } from '../../errors.ts';
import { environmentProblem } from '../../runs/deployments/tool-flags.ts';

interface ToolEnvironmentOptions {
  runId: string;
  /** The run's own empty folder, without `.terraformrc`, `.gitconfig` or keys. */
  home: string;
  /** The run's own folder for temporary files. */
  tempDir: string;
  /** Used instead of `.terraform`, which a repository may contain. */
  dataDir: string;
  cliConfigFile: string;
  /** The server's environment, of which the tool gets the variables of `FROM_OPERATOR`. */
  plumbing: Readonly<Record<string, string>>;
  /** The `env_vars` of the request. */
  requested: Readonly<Record<string, string>>;
  /** The protocols by which modules may be fetched, such as https and ssh. */
  gitProtocols: readonly string[];
}

/** The variables of the operator's environment that the tool and the checks get. */
const FROM_OPERATOR = [
  'PATH',
  'LANG',
  'LC_ALL',
  'TZ',
  'HTTPS_PROXY',
  'HTTP_PROXY',
  'NO_PROXY',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
];

/**
 * Providers listen on a socket `$TMPDIR/plugin-dir<10 digits>/plugin<10 digits>`. The path of a socket has at most 107
 * bytes (unix(7)).
 */
const MAX_TEMP_DIR_BYTES = 66;

/** Throws RunnerError for a variable that requests may not set. The API already refused such requests. */
export function toolEnvironment(options: ToolEnvironmentOptions): Record<string, string> {
  const { requested } = options;
  for (const [name, value] of Object.entries(requested)) {
    const problem = environmentProblem(name, value);
    if (problem !== null) throw new RunnerError(`env_vars: ${problem}.`, { nextAction: 'Leave it out.' });
  }
  const tempDirFits = Buffer.byteLength(options.tempDir) <= MAX_TEMP_DIR_BYTES;
  return {
    LANG: 'C.UTF-8',
    ...operatorEnvironment(options.plumbing),
    ...requested,
    HOME: options.home,
    TMPDIR: tempDirFits ? options.tempDir : '/tmp',
    TF_IN_AUTOMATION: '1',
    TF_INPUT: '0',
    TF_CLI_CONFIG_FILE: options.cliConfigFile,
    TF_DATA_DIR: options.dataDir,
    CHECKPOINT_DISABLE: '1',
    // These two are for the git that fetches modules. It must not use `ext::`, and nobody can answer a prompt.
    GIT_ALLOW_PROTOCOL: options.gitProtocols.join(':'),
    GIT_TERMINAL_PROMPT: '0',
    IAC_RUN_ID: options.runId,
  };
}

/** The variables of the operator, without those that a request or a run added. */
export function operatorEnvironment(environment: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    FROM_OPERATOR.flatMap((name) => {
      const value = environment[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}
