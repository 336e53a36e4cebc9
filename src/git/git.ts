/** git as a child process with a fixed environment and configuration. It gets credentials only to talk to a remote. */

import { GitError } from '../errors.ts';
import { type CaptureResult, captureProcess } from '../process/capture.ts';
import { MEBIBYTE, SECOND } from '../units.ts';
import { gitFailure } from './failure.ts';
import { parseRemote, type Remote } from './requested/remote.ts';

const MAX_OUTPUT_BYTES = 256 * MEBIBYTE;

/** The settings of every git. They win over any configuration file (git-config(1), GIT_CONFIG_COUNT). */
const SETTINGS: readonly (readonly [key: string, value: string])[] = [
  // git runs nothing that a repository or a task left behind.
  ['core.hooksPath', '/dev/null'],
  ['core.fsmonitor', 'false'],
  ['credential.helper', ''],
  ['protocol.ext.allow', 'never'],
  ['transfer.credentialsInUrl', 'die'],
  // A redirect would send the Authorization header to a host that nobody configured.
  ['http.followRedirects', 'false'],
  ['submodule.recurse', 'false'],
  ['fetch.recurseSubmodules', 'false'],
  // No background work may outlive its command. The mirror is repacked by this program.
  ['gc.auto', '0'],
  ['maintenance.auto', 'false'],
  // Every fetch leaves one pack, which git fsyncs, rather than loose objects, which it does not.
  ['fetch.unpackLimit', '1'],
  ['core.logAllRefUpdates', 'false'],
  // The ignore and attributes files of HOME would change the content of a checkout.
  ['core.excludesFile', '/dev/null'],
  ['core.attributesFile', '/dev/null'],
  ['core.untrackedCache', 'false'],
  ['core.quotePath', 'false'],
  ['advice.detachedHead', 'false'],
];

/** The flags of every fetch, which then brings only the objects and refs that were asked for. */
export const FETCH_FLAGS: readonly string[] = [
  '--quiet',
  '--no-tags',
  '--no-write-fetch-head',
  '--no-auto-maintenance',
  '--no-recurse-submodules',
];

interface GitPlace {
  /** Absolute. It is always given: with a damaged one, git would search upwards and use another repository. */
  gitDirectory: string;
  /** Absolute; git runs there. */
  workTree?: string;
  signal?: AbortSignal | undefined;
}

interface GitCall {
  input?: string;
  /** Only then does git get the protocol and the credentials of the remote. */
  remote?: boolean;
}

interface GitOutput {
  exitCode: number;
  stdout: Buffer;
  /** Free of secrets. */
  stderr: string;
}

export interface Git {
  remote: Remote;
  /** Throws GitError `unavailable` if git could not be run to its end, and the signal's reason if aborted. */
  run(args: readonly string[], options: GitPlace & GitCall): Promise<GitOutput>;
  /** Returns the stdout of a git that must exit with 0. For any other exit, throws the GitError for its words. */
  read(what: string, args: readonly string[], options: GitPlace & GitCall): Promise<Buffer>;
}

/** git in one repository. */
export interface RepositoryGit {
  /** The git directory. */
  directory: string;
  remote: Remote;
  run(args: readonly string[], call?: GitCall): Promise<GitOutput>;
  read(what: string, args: readonly string[], call?: GitCall): Promise<Buffer>;
  /** For a git that prints an id. */
  readId(what: string, args: readonly string[], call?: GitCall): Promise<string>;
}

export function inRepository(git: Git, place: GitPlace): RepositoryGit {
  const read = (what: string, args: readonly string[], call?: GitCall) =>
    git.read(what, args, { ...place, ...call });
  return {
    directory: place.gitDirectory,
    remote: git.remote,
    run: (args, call) => git.run(args, { ...place, ...call }),
    read,
    readId: async (what, args, call) => checkedId((await read(what, args, call)).toString().trim()),
  };
}

export interface GitOptions {
  /** The PATH of the child. */
  path: string;
  /** The HOME of the child. It matters for ssh keys and .netrc only. */
  home: string;
  /**
   * A remote that was checked before, or its configuration: `url` may contain user:password@; `token` is for https, or
   * http on loopback.
   */
  remote: { url: string; token: string | null } | Remote;
  /** Settings of only those git processes that talk to the remote. */
  remoteSettings?: readonly (readonly [key: string, value: string])[];
  /** Time limit of one git process. */
  timeoutMs: number;
  sshCommand?: string;
  /** Proxy, certificate and ssh-agent variables that the operator passes on. Names in GIT_… are left out. */
  network?: Record<string, string>;
}

/** Throws ConfigError if the address is refused. Needs git 2.34 or newer. */
export function createGit(options: GitOptions): Git {
  const remote = 'clean' in options.remote ? options.remote : parseRemote(options.remote);
  const localEnvironment = environment(options, 'none', SETTINGS);
  const remoteEnvironment = environment(options, remote.protocol, [
    ...SETTINGS,
    ...(options.remoteSettings ?? []),
    ...(remote.credential ? [[remote.credential.key, remote.credential.value] as const] : []),
  ]);

  async function run(args: readonly string[], runOptions: GitPlace & GitCall): Promise<GitOutput> {
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

  async function read(
    what: string,
    args: readonly string[],
    runOptions: GitPlace & GitCall,
  ): Promise<Buffer> {
    const { exitCode, stdout, stderr } = await run(args, runOptions);
    if (exitCode !== 0) throw gitFailure(what, stderr, remote.advice);
    return stdout;
  }

  return { remote, run, read };
}

/** Returns `revision` if it is a full commit or tree id: no other form of a revision may reach git's argv. */
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

/** Builds the whole environment of git: no variable of this process reaches it but those named here. */
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
    // A path of the repository may begin with ":" or contain a "*", and still means only itself.
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
  const error = (words: string, nextAction?: string): GitError =>
    new GitError('unavailable', `${command} ${words}.`, { ...(nextAction && { nextAction }) });
  switch (result.kind) {
    case 'timed_out':
      return error(
        `did not end within ${timeoutMs / SECOND} s`,
        'Check the network and the load of the machine.',
      );
    case 'not_started':
      return error(`could not be started: ${result.code}`, 'Install git 2.34 or newer and check PATH.');
    case 'too_much_output':
      return error(`wrote more than ${MAX_OUTPUT_BYTES} bytes`);
    case 'killed':
      return error(`was ended by ${result.signal}`, 'Check the memory and the limits of the machine.');
    case 'cancelled':
      return error('was cancelled');
  }
}
