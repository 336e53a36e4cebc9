/** Turns the error output of git into a GitError: its kind, its next action, and the line to show. */

import { GitError } from '../errors.ts';

/** The next actions for errors of a remote. They depend on who named the remote: the operator or a request. */
export interface RemoteAdvice {
  missingRef: string;
  moved: string;
  unreachable: string;
}

const CONFIGURED_REMOTE: RemoteAdvice = {
  missingRef: 'Push the branch, or correct GIT_BRANCH.',
  moved: 'Set GIT_REPO_URL to the address that the repository has now.',
  unreachable: 'Check that GIT_REPO_URL can be reached with the configured credentials.',
};

export const REQUESTED_REMOTE: RemoteAdvice = {
  missingRef: 'Check the name of the branch, tag or commit.',
  moved: 'Use the address that the repository has now.',
  unreachable: 'Check the address of the repository and the credentials for it.',
};

/**
 * The first match counts, and its next action may be a name of RemoteAdvice. A failure that matches nothing is damage. git
 * runs with LC_ALL=C, so its words are stable.
 */
const KINDS: readonly { kind: GitError['kind']; nextAction: string; words: RegExp }[] = [
  {
    kind: 'disk_full',
    nextAction: 'Free space on the disk.',
    words: /No space left on device|Out of diskspace|Disk quota exceeded|File too large/i,
  },
  { kind: 'unavailable', nextAction: 'missingRef', words: /couldn't find remote ref/i },
  { kind: 'unavailable', nextAction: 'moved', words: /returned error: 30\d/i },
  {
    kind: 'unavailable',
    nextAction: 'unreachable',
    words: new RegExp(
      [
        'unable to access',
        'could not read (from remote repository|username|password)',
        'could not resolve',
        'unable to (connect|look up)',
        'authentication failed',
        'connection (refused|reset|closed|timed out)',
        "repository '.*' (not found|does not exist)",
        'does not appear to be a git repository',
        'requested URL returned error',
        'rpc failed',
        'early eof',
        'remote end hung up',
        'unexpected disconnect',
        'remote error:',
        'not valid: is this a git repository',
        "transport '.*' not allowed",
        'SSL|TLS|certificate',
        'host key verification failed',
        'operation (timed out|too slow)',
        'network is unreachable|no route to host',
      ].join('|'),
      'i',
    ),
  },
  {
    kind: 'unavailable',
    nextAction: 'Check the named path: its owner, its permissions, its mount.',
    words:
      /permission denied|operation not permitted|read-only file system|dubious ownership|file name too long|resource busy/i,
  },
  {
    kind: 'unavailable',
    nextAction: 'Take the named path out of the repository.',
    words: /invalid path '/i,
  },
  {
    kind: 'unavailable',
    nextAction: 'Check the load and limits of the machine.',
    words: /cannot allocate memory|out of memory|resource temporarily unavailable|too many open files/i,
  },
];

/** True if the remote has no ref of the requested name, or does not give the commit of an id. */
export function isMissingOnRemote(stderr: string): boolean {
  return /couldn't find remote ref|not our ref|unadvertised object/i.test(withoutWordsOfServer(stderr));
}

/** Returns the error for a git that failed. `what` is a sentence without its full stop; `stderr` has no secrets. */
export function gitFailure(what: string, stderr: string, advice = CONFIGURED_REMOTE): GitError {
  const local = withoutWordsOfServer(stderr);
  const match = KINDS.find(({ words }) => words.test(local));
  return new GitError(match?.kind ?? 'broken', `${what}: ${mainLine(stderr)}.`, {
    nextAction: match
      ? nextActionOf(match.nextAction, advice)
      : 'Retry. If that does not help, remove the named directory: it is rebuilt.',
  });
}

/** A server may report its own errors ("remote: No space left …"), which say nothing about this machine. */
function withoutWordsOfServer(stderr: string): string {
  return stderr.replace(/^remote: .*$/gm, '');
}

function nextActionOf(nextAction: string, advice: RemoteAdvice): string {
  return Object.entries(advice).find(([name]) => name === nextAction)?.[1] ?? nextAction;
}

/** Picks the most useful line of git's stderr for a person. It has no control characters and at most 300 characters. */
export function mainLine(stderr: string): string {
  const lines = stderr
    .split(/[\r\n]+/)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: a server may send terminal escapes.
    .map((line) => line.replace(/[\u0000-\u001f\u007f-\u009f]/g, '').trim())
    .filter((line) => line !== '' && !/^(Please make sure|and the repository exists)/.test(line));
  // "Could not read from remote repository." only repeats that ssh, one line above, gave the reason.
  const plain = lines.filter((line) => !/^fatal: Could not read from remote repository/.test(line));
  const candidates = plain.length > 0 ? plain : lines;
  const main =
    candidates.find((line) => line.startsWith('fatal:')) ??
    candidates.find((line) => line.startsWith('error:')) ??
    candidates.at(-1) ??
    'git gave no reason';
  return main
    .replace(/^(fatal|error): /, '')
    .replace(/\.$/, '')
    .slice(0, 300);
}
