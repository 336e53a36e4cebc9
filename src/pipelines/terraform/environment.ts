/** The environment of Terraform and OpenTofu, built from nothing. */

import { RunnerError } from '../../errors.ts';
import { environmentProblem } from '../../runs/deployments/tool-flags.ts';

export interface ToolEnvironmentOptions {
  runId: string;
  /** The run's own, empty folder: neither `.terraformrc` nor `.gitconfig` nor anybody's keys are in it. */
  home: string;
  /** The run's own folder for temporary files. */
  tempDir: string;
  /** In place of `.terraform`, which a repository may hold. */
  dataDir: string;
  cliConfigFile: string;
  /** The server's own PATH, language, proxies and certificates; the rest of it is left out. */
  plumbing: Readonly<Record<string, string>>;
  /** What the request gave: `env_vars`. */
  requested: Readonly<Record<string, string>>;
  /** What modules may be fetched by, e.g. https and ssh. */
  gitProtocols: readonly string[];
}

/** What of the operator's environment the tool and the checks get. */
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
 * Providers speak through a socket `$TMPDIR/plugin-dir<10 digits>/plugin<10 digits>`, and the path of a socket has at
 * most 107 bytes (unix(7)).
 */
const MAX_TEMP_DIR_BYTES = 66;

/** Throws RunnerError for a variable that requests may not set; they are told so before anything is stored. */
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
    // The git that fetches modules: never `ext::` and the like, and nobody is there to be asked.
    GIT_ALLOW_PROTOCOL: options.gitProtocols.join(':'),
    GIT_TERMINAL_PROMPT: '0',
    IAC_RUN_ID: options.runId,
  };
}

/** The part of an environment that is the operator's, without what a request or a run added. */
export function operatorEnvironment(environment: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    FROM_OPERATOR.flatMap((name) => {
      const value = environment[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}
