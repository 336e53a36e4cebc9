/** What git's words on failure mean: the kind of GitError, and the one line worth showing. */

import { GitError } from '../errors.ts';

/** git runs with LC_ALL=C, so its words are stable. Checked in this order; what matches none is damage. */
const KINDS: readonly { kind: GitError['kind']; nextAction: string; words: RegExp }[] = [
  {
    kind: 'disk_full',
    nextAction: 'Free space on the disk.',
    words: /No space left on device|Out of diskspace|Disk quota exceeded|File too large/i,
  },
  {
    kind: 'unavailable',
    nextAction: 'Push the branch, or correct GIT_BRANCH.',
    words: /couldn't find remote ref/i,
  },
  {
    kind: 'unavailable',
    nextAction: 'Set GIT_REPO_URL to the address that the repository has now.',
    words: /returned error: 30\d/i,
  },
  {
    kind: 'unavailable',
    nextAction: 'Check that GIT_REPO_URL can be reached with the configured credentials.',
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
    nextAction: 'Check the load and limits of the machine.',
    words: /cannot allocate memory|out of memory|resource temporarily unavailable|too many open files/i,
  },
];

/** The error for a git that ended badly. `what` is a sentence without its full stop; `stderr` is already clean. */
export function gitFailure(what: string, stderr: string): GitError {
  // What the server says about itself ("remote: No space left …") is not about this machine.
  const ours = stderr.replace(/^remote: .*$/gm, '');
  const match = KINDS.find(({ words }) => words.test(ours));
  return new GitError(match?.kind ?? 'broken', `${what}: ${tellingLine(stderr)}.`, {
    nextAction: match?.nextAction ?? 'Retry; if it stays, remove the named directory: it is rebuilt.',
  });
}

/** The line of git's stderr that says most, for a person: one line, no control characters, at most 300 long. */
export function tellingLine(stderr: string): string {
  const lines = stderr
    .split(/[\r\n]+/)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: a server may send terminal escapes.
    .map((line) => line.replace(/[\u0000-\u001f\u007f-\u009f]/g, '').trim())
    .filter((line) => line !== '' && !/^(Please make sure|and the repository exists)/.test(line));
  // "Could not read from remote repository." only repeats that ssh, one line above, gave the reason.
  const plain = lines.filter((line) => !/^fatal: Could not read from remote repository/.test(line));
  const candidates = plain.length > 0 ? plain : lines;
  const telling =
    candidates.find((line) => line.startsWith('fatal:')) ??
    candidates.find((line) => line.startsWith('error:')) ??
    candidates.at(-1) ??
    'git gave no reason';
  return telling
    .replace(/^(fatal|error): /, '')
    .replace(/\.$/, '')
    .slice(0, 300);
}
