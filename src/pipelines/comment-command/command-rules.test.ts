import { describe, expect, it } from 'vitest';
import type { Person, PullDetails, PullReader, Review } from '../../github/pull-reader.ts';
import type { CommandInput } from '../../runs/command.ts';
import { commandVerdict } from './command-rules.ts';

const HEAD = 'a'.repeat(40);
const OTHER = 'b'.repeat(40);
const NOON = Date.parse('2026-03-02T12:00:00Z');
const ada: Person = { id: 1, login: 'ada' };
const bob: Person = { id: 2, login: 'bob' };
const eve: Person = { id: 3, login: 'eve' };
const cyd: Person = { id: 4, login: 'cyd' };

const INPUT: CommandInput = {
  command: 'apply',
  repository: 'acme/platform',
  pullRequest: 7,
  author: ada,
  commentId: 9,
  writtenAt: NOON,
  branch: 'main',
  cloneUrl: 'https://github.com/acme/platform',
  apiUrl: 'https://api.github.com',
};
const PULL: PullDetails = {
  isOpen: true,
  isDraft: false,
  head: HEAD,
  fromFork: false,
  headRef: 'topic',
  baseRef: 'main',
  author: ada,
  mergeable: true,
  mergeableState: 'clean',
};

function review(reviewer: Person | null, changes: Partial<Review> = {}): Review {
  return { reviewer, state: 'APPROVED', commit: HEAD, submittedAt: NOON - 60_000, ...changes };
}

interface Scene {
  pull?: Partial<PullDetails> | null | 'unavailable';
  reviews?: Review[] | 'unavailable';
  writers?: Person[] | 'unavailable';
  input?: Partial<CommandInput>;
  bound?: string | null;
}

async function verdictOf(scene: Scene) {
  const { pull = {}, reviews = [review(bob)], writers = [ada, bob], input = {}, bound = null } = scene;
  const github: PullReader = {
    pull: async () => (pull === null || pull === 'unavailable' ? pull : { ...PULL, ...pull }),
    reviews: async () => reviews,
    mayWrite: async ({ id, login }) =>
      writers === 'unavailable' ? writers : writers.some((one) => one.id === id && one.login === login),
  };
  const verdict = await commandVerdict(github, { ...INPUT, ...input }, bound);
  return verdict.kind === 'granted' ? 'granted' : `${verdict.kind}: ${verdict.message}`;
}

describe('A command of a comment', () => {
  it.each<[string, Scene]>([
    ['an approved, mergeable head', {}],
    ['one whose rules nobody requires fail', { pull: { mergeableState: 'unstable' } }],
    [
      'one approved by the commenter, who did not write it',
      { pull: { author: eve }, reviews: [review(ada)] },
    ],
    ['one approved twice', { reviews: [review(bob), review(bob, { submittedAt: NOON })] }],
    [
      'one that was objected to and then approved by the same reviewer',
      { reviews: [review(bob, { state: 'CHANGES_REQUESTED', submittedAt: NOON - 90_000 }), review(bob)] },
    ],
    [
      'one with remarks after the approval',
      { reviews: [review(bob), review(bob, { state: 'COMMENTED', submittedAt: NOON })] },
    ],
    [
      'one that was approved again after an approval or an objection was dismissed',
      { reviews: [review(bob, { state: 'DISMISSED', submittedAt: NOON - 90_000 }), review(bob)] },
    ],
    [
      'one whose only other objection was dismissed',
      { reviews: [review(bob), review(cyd, { state: 'DISMISSED' })], writers: [ada, bob, cyd] },
    ],
    [
      'one that somebody without write access, or without an account, objects to',
      {
        reviews: [
          review(bob),
          review(eve, { state: 'CHANGES_REQUESTED' }),
          review(null, { state: 'CHANGES_REQUESTED' }),
        ],
      },
    ],
    ['the commit it is bound to', { bound: HEAD }],
  ])('F47: apply is granted to %s', async (_what, scene) => {
    expect(await verdictOf(scene)).toBe('granted');
  });

  it.each<[string, Scene, string]>([
    ['somebody without write access', { writers: [bob] }, 'ada has no write access to acme/platform'],
    [
      'a name like that of somebody with access',
      { input: { author: { id: 66, login: 'ada' } } },
      'ada has no write access to acme/platform',
    ],
    ['a pull request that is not there', { pull: null }, 'GitHub does not know the pull request'],
    ['a closed one', { pull: { isOpen: false } }, 'The pull request is closed'],
    ['another base', { pull: { baseRef: 'dev' } }, 'The pull request is not for the branch main'],
    ['a fork', { pull: { fromFork: true } }, 'Heads from forks are not applied'],
    ['a draft', { pull: { isDraft: true } }, 'The pull request is a draft'],
    [
      'a head that moved',
      { bound: OTHER },
      'The head has moved from bbbbbbbb to aaaaaaaa, which needs an approval of its own',
    ],
    ['nobody’s approval', { reviews: [] }, 'Nobody has approved aaaaaaaa'],
    [
      'an approval of A when the head is B',
      { reviews: [review(bob, { commit: OTHER })] },
      'The approval is of another commit than aaaaaaaa, the head',
    ],
    [
      'an approval of no commit',
      { reviews: [review(bob, { commit: null })] },
      'The approval is of another commit than aaaaaaaa, the head',
    ],
    ['the author’s own approval', { reviews: [review(ada)] }, 'Nobody approves a pull request of their own'],
    [
      'an approval when the author is unknown',
      { pull: { author: null } },
      'Nobody approves a pull request of their own',
    ],
    [
      'an approval by somebody without write access',
      { reviews: [review(eve)] },
      'Nobody with write access has approved aaaaaaaa',
    ],
    [
      'an approval by an account that was deleted',
      { reviews: [review(null)] },
      'Nobody has approved aaaaaaaa',
    ],
    [
      'an approval that came after the comment',
      { reviews: [review(bob, { submittedAt: NOON + 1_000 })] },
      'aaaaaaaa was approved after the comment was written',
    ],
    [
      'an approval that its reviewer took back',
      {
        reviews: [
          review(bob),
          review(bob, { state: 'CHANGES_REQUESTED', commit: OTHER, submittedAt: NOON + 5 }),
        ],
      },
      'bob has asked for changes',
    ],
    [
      'an older approval by somebody whose objection was dismissed',
      { reviews: [review(bob), review(bob, { state: 'DISMISSED', submittedAt: NOON - 30_000 })] },
      'Nobody has approved aaaaaaaa',
    ],
    [
      'an objection by another writer, made at whichever commit and time',
      {
        reviews: [
          review(bob),
          review(cyd, { state: 'CHANGES_REQUESTED', commit: OTHER, submittedAt: NOON - 900_000 }),
          review(cyd, { state: 'COMMENTED' }),
        ],
        writers: [ada, bob, cyd],
      },
      'cyd has asked for changes',
    ],
    [
      'a dismissed approval',
      { reviews: [review(bob, { state: 'DISMISSED' })] },
      'Nobody has approved aaaaaaaa',
    ],
    [
      'a conflict',
      { pull: { mergeable: false, mergeableState: 'dirty' } },
      'The head cannot be merged: it is in conflict with its base',
    ],
    [
      'rules of the branch',
      { pull: { mergeableState: 'blocked' } },
      'The head cannot be merged: by the rules of the branch it is blocked',
    ],
  ])('F47: apply is refused for %s', async (_what, scene, why) => {
    expect(await verdictOf(scene)).toBe(`refused: ${why}`);
  });

  it.each<[string, Scene]>([
    ['permissions', { writers: 'unavailable' }],
    ['the pull request', { pull: 'unavailable' }],
    ['reviews', { reviews: 'unavailable' }],
    ['whether it can be merged', { pull: { mergeable: null, mergeableState: 'unknown' } }],
    ['the state of the merge', { pull: { mergeableState: 'unknown' } }],
  ])('is not settled while GitHub does not say %s', async (_what, scene) => {
    expect(await verdictOf(scene)).toMatch(/^unsettled: GitHub /);
  });

  it('plan only needs write access and an open pull request for the branch', async () => {
    const input = { command: 'plan' } as const;
    expect(await verdictOf({ input, reviews: [], pull: { fromFork: true, mergeable: null } })).toBe(
      'granted',
    );
    expect(await verdictOf({ input, writers: [] })).toMatch(/^refused: ada has no write access/);
    expect(await verdictOf({ input, pull: { isOpen: false } })).toMatch(/^refused: /);
  });
});
