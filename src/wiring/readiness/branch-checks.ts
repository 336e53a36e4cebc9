/** The checks of the repository for /ready: whether the remote answers, has the branch, and has good rules at its head. */

import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import type { EnvironmentConfig } from '../../config/repositories.ts';
import type { Config } from '../../config.ts';
import { describeError } from '../../errors.ts';
import type { Git } from '../../git/git.ts';
import type { Followed, Mirror } from '../../git/own/mirror.ts';
import { type LoadedRules, loadRules } from '../../pipelines/rules/load-rules.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { SECOND } from '../../units.ts';
import type { Checks } from '../../web/frame/readiness.ts';

/** The remote is asked once in this time, for any number of requests. The answer of /ready is never older than 30 s. */
const REMOTE_MS = 20 * SECOND;

export interface BranchChecksOptions {
  git: Git;
  mirror: Mirror;
  follows: Followed;
  /** The scope of the ledger. */
  scope: string;
  environment: EnvironmentConfig;
  ledger: RunStore['ledger'];
  now(): number;
  signal: AbortSignal;
}

type Settings = Pick<Config, 'requireSignedCommits' | 'commitSigners'>;

export function branchChecks(config: Settings, options: BranchChecksOptions): Checks {
  const heads = createHeadQuestion(options);
  const rulesAtHead = () => loadRulesAtHead(options);

  return {
    async remote() {
      await heads();
    },
    async branch() {
      // The check `remote` reports a remote that does not answer.
      const found = await heads().catch(() => null);
      if (found !== '') return;
      throw new Error(whatIsMissing(options));
    },
    async rules() {
      const problem = (await rulesAtHead())?.problems[0];
      return problem === undefined ? undefined : `${problem}. The last good rules are used.`;
    },
    async signers() {
      const isDemanded = config.requireSignedCommits || (await rulesAtHead())?.rules.requireSignature;
      if (isDemanded) await requireSigners(config.commitSigners);
    },
  };
}

function whatIsMissing({ follows, environment: { name } }: BranchChecksOptions): string {
  const setting = name === null ? 'GIT_BRANCH' : `the environment ${name} in CONFIG_FILE`;
  const what = 'branch' in follows ? `branch ${follows.branch}` : `tag ${follows.tags}`;
  return `The repository has no ${what}. Push it, or correct ${setting}.`;
}

type RulesOptions = Pick<BranchChecksOptions, 'mirror' | 'ledger' | 'scope' | 'environment'>;

/** Resolves to the rules at the last fetched head, or to null before the first fetch. */
async function loadRulesAtHead({
  mirror,
  ledger,
  scope,
  environment,
}: RulesOptions): Promise<LoadedRules | null> {
  const head = await mirror.head();
  return head === null ? null : loadRules(mirror, head, (await ledger(scope)).rules, environment.name);
}

/** Resolves to false if the rules of the branch are known, and no service has a task of INVOKE_COMMAND. */
export async function needsTaskRunner(options: RulesOptions): Promise<boolean> {
  // Another check reports a repository that cannot be read.
  const loaded = await loadRulesAtHead(options).catch(() => null);
  return loaded === null || loaded.rules.services.some(({ task }) => typeof task === 'string');
}

/** Resolves to the remote's line about the branch, empty if it has no such branch. Throws if it does not answer. */
function createHeadQuestion({
  git,
  mirror,
  follows,
  now,
  signal,
}: BranchChecksOptions): () => Promise<string> {
  const { url } = git.remote;
  const [followed, ref] =
    'branch' in follows
      ? [follows.branch, `refs/heads/${follows.branch}`]
      : [`tags ${follows.tags}`, `refs/tags/${follows.tags}`];
  const args = ['ls-remote', '--quiet', '--', url, ref];
  let last: { at: number; answer: Promise<string> } | null = null;

  async function ask(): Promise<string> {
    try {
      const options = { gitDirectory: mirror.directory, remote: true, signal };
      return (await git.read(`Asking ${url} for ${followed} failed`, args, options)).toString().trim();
    } catch (error) {
      throw new Error(describeError(error), { cause: error });
    }
  }

  return () => {
    if (last === null || now() - last.at > REMOTE_MS) last = { at: now(), answer: ask() };
    return last.answer;
  };
}

async function requireSigners(file: string | null): Promise<void> {
  const remedy = 'Commits must be signed: set COMMIT_SIGNERS to the file of allowed signers.';
  if (file === null) throw new Error(remedy);
  await access(file, constants.R_OK).catch((cause: unknown) => {
    throw new Error(`COMMIT_SIGNERS cannot be read: ${describeError(cause)}. ${remedy}`, { cause });
  });
}
