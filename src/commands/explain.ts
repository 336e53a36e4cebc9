/** iac-runner explain: shows what a sync would do, and why, from a clone alone. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { loadPlumbing } from '../config.ts';
import { UsageError } from '../errors.ts';
import { createGit } from '../git/git.ts';
import { type Clone, openClone } from '../git/requested/clone.ts';
import { explainRange } from '../pipelines/selection/explain-range.ts';
import { shortCommit } from '../runs/texts/short-commit.ts';
import { MINUTE } from '../units.ts';
import { type ExplainedRange, explanationJson, explanationText, wouldSucceed } from './explanation-text.ts';
import { parseOptions, type Subcommand } from './subcommand.ts';

const GIT_TIMEOUT_MS = 5 * MINUTE;

/** The names that are tried for the deployed branch when --branch is not given. */
const BRANCHES = ['origin/HEAD', 'origin/main', 'origin/master', 'main', 'master'];

export const explain: Subcommand = {
  summary: 'Show what a sync would run, and why.',
  help: `Usage: iac-runner explain [--all] [--json] [-C FOLDER] A..B
       iac-runner explain [--all] [--json] [-C FOLDER] [--branch BRANCH] REVISION
       iac-runner explain [--all] [--json] --worktree [FOLDER]

Shows which services a sync would run, skip or refuse, as file → rule → service → decision, by the same rules as the
server. Works in any clone of the platform repository, without a server, and changes nothing in it.

  A..B          the sync of B when every service was last synced at A
  A...B         the same, from the commit where B left A
  REVISION      the same, from the commit where it left BRANCH; for a commit of BRANCH, from its parent
  --worktree    the uncommitted changes in FOLDER (default: here), after its HEAD; ignored files do not count

Options:
  --all               also services that are not chosen
  --json              as JSON
  --environment NAME  for this environment (default: the unnamed one, which has every service)
  --branch BRANCH     the branch that is deployed (default: the first that exists of ${BRANCHES.join(', ')})
  -C FOLDER           a folder of the clone (default: here)

Exits with 1 when .iac-runner.yaml cannot be read, naming line and field, or when two folders claim one id.

Example:
  iac-runner explain main..my-branch
`,
  async run(args) {
    const { values, positionals } = parseOptions(args, {
      allowPositionals: true,
      options: {
        worktree: { type: 'boolean', default: false },
        all: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        branch: { type: 'string' },
        environment: { type: 'string' },
        directory: { type: 'string', short: 'C', default: '.' },
      },
    });
    const [named, ...others] = positionals;
    if (others.length > 0) throw new UsageError(values.worktree ? 'Give one folder.' : 'Give one range.');
    if (!values.worktree && named === undefined) throw new UsageError('Give a range, or --worktree.');
    const folder = values.worktree ? (named ?? values.directory) : values.directory;
    const directory = await mkdtemp(path.join(tmpdir(), 'iac-runner-explain-'));
    try {
      const clone = await openClone({ git: localGit(), folder, directory });
      const range = values.worktree
        ? await worktreeRange(clone)
        : await namedRange(clone, named ?? '', values.branch);
      const { environment } = values;
      const explained = await explainRange(clone.scratch.reader(range.to), { ...range, environment });
      const written = values.json
        ? explanationJson(explained, range)
        : explanationText(explained, range, { all: values.all });
      process.stdout.write(written);
      for (const problem of explained.loaded.problems) {
        process.stderr.write(`${problem}. The last good rules are used.\n`);
      }
      return wouldSucceed(explained);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  },
};

/** A git without a remote; the address is never used. */
function localGit() {
  const { PATH = '', HOME = '/' } = loadPlumbing();
  return createGit({
    path: PATH,
    home: HOME,
    remote: { url: 'file:///dev/null', token: null },
    timeoutMs: GIT_TIMEOUT_MS,
  });
}

async function worktreeRange(clone: Clone): Promise<ExplainedRange> {
  const from = await clone.commitOf('HEAD');
  const to = await clone.workingFolder(from);
  return { from, to, shown: { from: short(from), to: 'the working folder' } };
}

async function namedRange(clone: Clone, range: string, branch: string | undefined): Promise<ExplainedRange> {
  const [, left, dots, right] = /^(.*?)(\.{2,3})(.*)$/.exec(range) ?? [];
  const to = await mustBeCommit(clone, right === undefined ? range : right || 'HEAD');
  const from =
    left === undefined
      ? await baseOf(clone, to, branch)
      : await leftEnd(clone, await mustBeCommit(clone, left || 'HEAD'), to, dots === '...');
  return { from, to, shown: { from: short(from), to: short(to) } };
}

async function leftEnd(clone: Clone, from: string, to: string, fork: boolean): Promise<string | null> {
  return fork ? clone.scratch.reader(to).mergeBase(from, to) : from;
}

/** Returns the commit where `to` left the branch, or the parent of `to` if it is on the branch or no branch is found. */
async function baseOf(clone: Clone, to: string, branch: string | undefined): Promise<string | null> {
  const head = branch === undefined ? await deployedBranch(clone) : await mustBeCommit(clone, branch);
  const fork = head === null ? null : await clone.scratch.reader(to).mergeBase(head, to);
  return fork === null || fork === to ? clone.commitOf(`${to}^`) : fork;
}

async function deployedBranch(clone: Clone): Promise<string | null> {
  for (const name of BRANCHES) {
    const head = await clone.commitOf(name);
    if (head !== null) return head;
  }
  return null;
}

async function mustBeCommit(clone: Clone, name: string): Promise<string> {
  const commit = await clone.commitOf(name);
  if (commit === null) throw new UsageError(`${JSON.stringify(name)} is no commit of this clone.`);
  return commit;
}

function short(commit: string | null): string {
  return commit === null ? 'nothing' : shortCommit(commit);
}
