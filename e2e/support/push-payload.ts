/** Builds the payload of a push as GitHub does, from a real repository and Octokit's example payload. */

import { git, gitSucceeds } from './git.ts';
import { describeRepository, describeUser } from './github-repository.ts';

/** The value that GitHub sends for "no commit" in `before` and `after`. */
export const NO_COMMIT = '0'.repeat(40);
/** https://docs.github.com/en/webhooks/webhook-events-and-payloads#push */
const MAX_COMMITS = 2_048;

interface PushedRepository {
  /** The path of the bare repository. */
  path: string;
  /** `owner/name` */
  fullName: string;
  /** Default: main. */
  defaultBranch?: string;
}

export interface Push {
  repository: PushedRepository;
  /** e.g. `refs/heads/main` */
  ref: string;
  /** Full commit ids. 40 zeros for a ref that is created or deleted. */
  before: string;
  after: string;
  /** GitHub login. Default: octocat. */
  pusher?: string;
}

interface PushedPerson {
  name: string;
  email: string;
  username?: string;
}

interface PushedCommit {
  id: string;
  tree_id: string;
  distinct: boolean;
  message: string;
  timestamp: string;
  url: string;
  author: PushedPerson;
  committer: PushedPerson;
  added: string[];
  removed: string[];
  modified: string[];
}

export interface PushPayload {
  ref: string;
  before: string;
  after: string;
  created: boolean;
  deleted: boolean;
  forced: boolean;
  base_ref: null;
  compare: string;
  commits: PushedCommit[];
  head_commit: PushedCommit | null;
  repository: Record<string, unknown>;
  pusher: PushedPerson;
  sender: Record<string, unknown>;
}

/** The payload that GitHub sends after `before..after` was pushed. Both commits must still be in the repository. */
export async function buildPushPayload(push: Push): Promise<PushPayload> {
  const { repository, ref, before, after, pusher = 'octocat' } = push;
  const created = before === NO_COMMIT;
  const deleted = after === NO_COMMIT;
  const web = `https://github.com/${repository.fullName}`;
  const commits = deleted ? [] : await readCommits(push, await newCommits(push));
  const head = deleted
    ? []
    : await readCommits(push, [await git(repository.path, ['rev-parse', `${after}^{commit}`])]);
  return {
    ref,
    before,
    after,
    created,
    deleted,
    forced: !created && !deleted && !(await isAncestor(push)),
    base_ref: null,
    compare: created
      ? `${web}/compare/${ref.replace(/^refs\/(heads|tags)\//, '')}`
      : `${web}/compare/${before.slice(0, 12)}...${after.slice(0, 12)}`,
    commits,
    head_commit: head[0] ?? null,
    repository: describeRepository(repository.fullName, repository.defaultBranch),
    pusher: { name: pusher, email: `${pusher}@users.noreply.github.com` },
    sender: describeUser(pusher),
  };
}

function isAncestor({ repository, before, after }: Push): Promise<boolean> {
  return gitSucceeds(repository.path, ['merge-base', '--is-ancestor', before, after]);
}

/** The commits, oldest first. A new ref has the commits that are on no other branch. */
async function newCommits({ repository, ref, before, after }: Push): Promise<string[]> {
  const known = before === NO_COMMIT ? [`--exclude=${ref}`, '--branches'] : [before];
  const args = [
    'rev-list',
    '--topo-order',
    '--reverse',
    `--max-count=${MAX_COMMITS}`,
    after,
    '--not',
    ...known,
  ];
  return (await git(repository.path, args)).split('\n').filter((line) => line !== '');
}

async function readCommits({ repository }: Push, ids: string[]): Promise<PushedCommit[]> {
  if (ids.length === 0) return [];
  const fields = ['%H', '%T', '%cI', '%an', '%ae', '%cn', '%ce', '%P', '%B'];
  const args = ['log', '-z', '--no-walk=unsorted', '--stdin', `--format=${fields.join('%x00')}`];
  const tokens = (await git(repository.path, args, `${ids.join('\n')}\n`)).split('\0');
  const files = await readFiles(repository.path, tokens, fields.length);
  return ids.map((_, index) => {
    const [id = '', tree = '', timestamp = '', an = '', ae = '', cn = '', ce = '', , body = ''] =
      tokens.slice(index * fields.length);
    return {
      id,
      tree_id: tree,
      distinct: true,
      message: body.trimEnd(),
      timestamp,
      url: `https://github.com/${repository.fullName}/commit/${id}`,
      author: { name: an, email: ae },
      committer: { name: cn, email: ce },
      ...(files.get(id) ?? { added: [], removed: [], modified: [] }),
    };
  });
}

type FileLists = Pick<PushedCommit, 'added' | 'removed' | 'modified'>;

/** The changes of each commit against its first parent. A rename is a removal and an addition. */
async function readFiles(path: string, tokens: string[], width: number): Promise<Map<string, FileLists>> {
  const commits: string[] = [];
  for (let at = 0; at + width <= tokens.length; at += width) {
    const firstParent = (tokens[at + width - 2] ?? '').split(' ')[0] ?? '';
    // With named parents, diff-tree compares with those and not with the commit's own parents.
    commits.push(`${tokens[at] ?? ''} ${firstParent}`.trimEnd());
  }
  const args = ['diff-tree', '--stdin', '-r', '-z', '--root', '--always', '--no-renames', '--name-status'];
  const output = (await git(path, args, `${commits.join('\n')}\n`)).split('\0');
  const byCommit = new Map<string, FileLists>();
  let current: FileLists = { added: [], removed: [], modified: [] };
  for (let at = 0; at < output.length; at += 1) {
    const token = output[at] ?? '';
    if (/^[0-9a-f]{40}$/.test(token)) {
      current = { added: [], removed: [], modified: [] };
      byCommit.set(token, current);
    } else if (token !== '') {
      at += 1;
      const list = token === 'A' ? current.added : token === 'D' ? current.removed : current.modified;
      list.push(output[at] ?? '');
    }
  }
  return byCommit;
}
