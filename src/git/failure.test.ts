import { describe, expect, it } from 'vitest';
import { gitFailure, mainLine } from './failure.ts';

describe('gitFailure', () => {
  it.each([
    ['fatal: write error: No space left on device', 'disk_full'],
    ["fatal: unable to access 'https://h/r/': Could not resolve host: h", 'unavailable'],
    ["fatal: couldn't find remote ref refs/heads/main", 'unavailable'],
    ['git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.', 'unavailable'],
    ['remote: No space left on device\nfatal: the remote end hung up unexpectedly', 'unavailable'],
    ['error: inflate: data stream error\nfatal: loose object 12 is corrupt', 'broken'],
    ["fatal: not a git repository: '/data/mirror.git'", 'broken'],
    ['', 'broken'],
  ])('knows the kind of %j', (stderr, kind) => {
    expect(gitFailure('It failed', stderr).kind).toBe(kind);
  });

  it('says what happened and what to do next', () => {
    const error = gitFailure('Fetching failed', "fatal: couldn't find remote ref refs/heads/main\n");
    expect(error.message).toBe("Fetching failed: couldn't find remote ref refs/heads/main.");
    expect(error.nextAction).toBe('Push the branch, or correct GIT_BRANCH.');
  });
});

describe('mainLine', () => {
  it("prefers ssh's own reason to git's remark on it", () => {
    const stderr =
      'git@h: Permission denied (publickey).\r\nfatal: Could not read from remote repository.\n\n' +
      'Please make sure you have the correct access rights\nand the repository exists.\n';
    expect(mainLine(stderr)).toBe('git@h: Permission denied (publickey)');
  });

  it('is one short line without terminal escapes', () => {
    const line = mainLine(`remote: \u001b[31mred\nfatal: a\u0007b${'x'.repeat(1000)}\n`);
    expect(line).toMatch(/^abx+$/);
    expect(line).toHaveLength(300);
  });
});
