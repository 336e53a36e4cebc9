/** git as a child process: a fixed environment and configuration, credentials only where a remote is spoken to. */

import { GitError } from '../errors.ts';
import { type CaptureResult, captureProcess } from '../process/capture.ts';
import { MEBIBYTE } from '../units.ts';
import { gitFailure } from './failure.ts';
import { parseRemote, type Remote } from './requested/remote.ts';

const MAX_OUTPUT_BYTES = 256 * MEBIBYTE;

/** Settings of every git we start. They win over any configuration file (git-config(1), GIT_CONFIG_COUNT). */
const SETTINGS: readonly (readonly [key: string, value: string])[] = [
  // Nothing that a repository or a task left behind is run.
  ['core.hooksPath', '/dev/null'],
  ['core.fsmonitor', 'false'],
  ['credential.helper', ''],
  ['protocol.ext.allow', 'never'],
  ['transfer.credentialsInUrl', 'die'],
  // A redirect would carry the Authorization header to a host that nobody configured.
  ['http.followRedirects', 'false'],
  ['submodule.recurse', 'false'],
  ['fetch.recurseSubmodules', 'false'],
  // No background work that outlives its command; the mirror repacks itself.
  ['gc.auto', '0'],
  ['maintenance.auto', 'false'],
  // Every fetch leaves one pack, which git fsyncs, rather than loose objects, which it does not.
  ['fetch.unpackLimit', '1'],
  ['core.logAllRefUpdates', 'false'],
  // HOME's ignore and attributes files would change what a checkout means.
  ['core.excludesFile', '/dev/null'],
  ['core.attributesFile', '/dev/null'],
  ['core.untrackedCache', 'false'],
  ['core.quotePath', 'false'],
  ['advice.detachedHead', 'false'],
];

/** Of every fetch: nothing but the objects and refs asked for. */
export const FETCH_FLAGS: readonly string[] = [
  '--quiet',
  '--no-tags',
  '--no-write-fetch-head',
  '--no-auto-maintenance',
  '--no-recurse-submodules',
];

interface GitRunOptions {
  /** Absolute. Always explicit: with a damaged one, git would else search upwards and act on a stranger. */
  gitDirectory: string;
  /** Absolute; git runs there. */
  workTree?: string;
  input?: string;
  /** Only then does git get the protocol and the credentials of the remote. */
  remote?: boolean;
  signal?: AbortSignal | undefined;
}

interface GitOutput {
  exitCode: number;
  stdout: Buffer;
  /** Free of secrets. */
  stderr: string;
}

export interface Git {
  remote: Remote;
  /** Throws GitError `unavailable` when git could not be run to its end; the signal's reason when aborted. */
  run(args: readonly string[], options: GitRunOptions): Promise<GitOutput>;
  /** stdout of a git that must exit with 0; any other exit throws the GitError for its words. */
  read(what: string, args: readonly string[], options: GitRunOptions): Promise<Buffer>;
}

export interface GitOptions {
  /** PATH and HOME of the child. HOME matters for ssh keys and .netrc only. */
  path: string;
  home: string;
  /** `url` as configured, may carry user:password@; `token` is for https, or http on loopback. Or one checked before. */
  remote: { url: string; token: string | null } | Remote;
  /** Settings of those git processes alone that speak to the remote. */
  remoteSettings?: readonly (readonly [key: string, value: string])[];
  /** Time limit of one git process. */
  timeoutMs: number;
  sshCommand?: string;
  /** Proxy, certificate and ssh-agent variables that the operator passes on. GIT_* is not among them. */
  network?: Record<string, string>;
}

/** Throws ConfigError for an address that is refused. Needs git 2.34 or newer. */
export function createGit(options: GitOptions): Git {
  const remote = 'clean' in options.remote ? options.remote : parseRemote(options.remote);
  const localEnvironment = environment(options, 'none', SETTINGS);
  const remoteEnvironment = environment(options, remote.protocol, [
    ...SETTINGS,
    ...(options.remoteSettings ?? []),
    ...(remote.credential ? [[remote.credential.key, remote.credential.value] as const] : []),
  ]);

  async function run(args: readonly string[], runOptions: GitRunOptions): Promise<GitOutput> {
    const { gitDirectory, workTree, input, signal } = runOptions;
    signal?.throwIfAborted();
    const place = workTree ? [`--work-tree=${workTree}`] : [];
    const result = await captureProcess({
      argv: ['git', '--no-pager', `--git-dir=${gitDirectory}`, ...place, ...args],
      cwd: workTree ?? '/',
      env: runOptions.remote ? remoteEnvironment : localEnvironment,
      timeoutMs: options.timeoutMs,
      maxOutputBytes: MAX_OUTPUT_BYTES,
      ...(input === undefined ? {} : { input }),
      ...(signal ? { signal } : {}),
    });
    if (result.kind !== 'exited') {
      signal?.throwIfAborted();
      throw notFinished(`git ${args[0]}`, result, options.timeoutMs);
    }
    return { exitCode: result.exitCode, stdout: result.stdout, stderr: remote.clean(result.stderr) };
  }

  async function read(what: string, args: readonly string[], runOptions: GitRunOptions): Promise<Buffer> {
    const { exitCode, stdout, stderr } = await run(args, runOptions);
    if (exitCode !== 0) throw gitFailure(what, stderr, remote.advice);
    return stdout;
  }

  return { remote, run, read };
}

/** `revision` when it is a full commit or tree id, the only form of a revision that may reach git's argv. */
export function checkedId(revision: string): string {
  if (/^[0-9a-f]{40}$/.test(revision)) return revision;
  throw new GitError(
    'unknown_revision',
    `${JSON.stringify(revision.slice(0, 80))} is not a full commit id.`,
    {
      nextAction: 'Name the commit by its 40 hexadecimal digits.',
    },
  );
}

/** Built from nothing: no variable of this process reaches git but those named here. */
function environment(
  options: GitOptions,
  protocol: string,
  settings: readonly (readonly [key: string, value: string])[],
): Record<string, string> {
  const network = Object.entries(options.network ?? {}).filter(([name]) => !name.startsWith('GIT_'));
  const variables: Record<string, string> = {
    ...Object.fromEntries(network),
    PATH: options.path,
    HOME: options.home,
    LC_ALL: 'C',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_ATTR_NOSYSTEM: '1',
    GIT_NO_REPLACE_OBJECTS: '1',
    // A path of the repository may begin with ":" or hold a "*"; it is always that path.
    GIT_LITERAL_PATHSPECS: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: 'true',
    SSH_ASKPASS: 'true',
    GIT_ALLOW_PROTOCOL: protocol,
    GIT_SSH_COMMAND: options.sshCommand ?? 'ssh -oBatchMode=yes -oConnectTimeout=15 -oServerAliveInterval=15',
    GIT_CONFIG_COUNT: String(settings.length),
  };
  for (const [index, [key, value]] of settings.entries()) {
    variables[`GIT_CONFIG_KEY_${index}`] = key;
    variables[`GIT_CONFIG_VALUE_${index}`] = value;
  }
  return variables;
}

function notFinished(
  command: string,
  result: Exclude<CaptureResult, { kind: 'exited' }>,
  timeoutMs: number,
): GitError {
  switch (result.kind) {
    case 'timed_out':
      return new GitError('unavailable', `${command} did not end within ${timeoutMs / 1000} s.`, {
        nextAction: 'Check the network and the load of the machine.',
      });
    case 'not_started':
      return new GitError('unavailable', `${command} could not be started: ${result.code}.`, {
        nextAction: 'Install git 2.34 or newer and check PATH.',
      });
    case 'too_much_output':
      return new GitError('unavailable', `${command} wrote more than ${MAX_OUTPUT_BYTES} bytes.`);
    case 'killed':
      return new GitError('unavailable', `${command} was ended by ${result.signal}.`, {
        nextAction: 'Check the memory and the limits of the machine.',
      });
    case 'cancelled':
      return new GitError('unavailable', `${command} was cancelled.`);
  }
}
