/** Decides whether a command in a comment is obeyed, by GitHub's answers now and never by the payload of the comment. */

import type { Person, PullDetails, PullReader, Review } from '../../github/pull-reader.ts';
import type { CommandInput } from '../../runs/command.ts';
import { shortCommit } from '../../runs/texts/short-commit.ts';

export type Verdict =
  | { kind: 'granted'; pull: PullDetails }
  /** `message` is a sentence without its full stop. */
  | { kind: 'refused'; reason: 'not_allowed' | 'not_approved'; message: string }
  /** GitHub cannot say yet. */
  | { kind: 'unsettled'; message: string };

/** GitHub's states of a head that may be merged. With `unstable`, checks failed that nobody requires. */
const MERGEABLE: ReadonlySet<string> = new Set(['clean', 'unstable', 'has_hooks']);
const SILENT: Verdict = { kind: 'unsettled', message: 'GitHub does not answer' };

/**
 * `bound` is the commit for which an apply was granted before, or null. An apply needs an open pull request of this
 * repository whose head can be merged and was approved, as this very commit, before the comment was written.
 */
export async function commandVerdict(
  github: PullReader,
  input: CommandInput,
  bound: string | null,
): Promise<Verdict> {
  const mayAsk = await github.mayWrite(input.author);
  if (mayAsk === 'unavailable') return SILENT;
  if (!mayAsk) {
    const message = `${input.author.login} has no write access to ${input.repository}`;
    return { kind: 'refused', reason: 'not_allowed', message };
  }
  const pull = await github.pull();
  if (pull === 'unavailable') return SILENT;
  if (pull === null) return refused('GitHub does not know the pull request');
  if (!pull.isOpen) return refused('The pull request is closed');
  if (pull.baseRef !== input.branch) return refused(`The pull request is not for the branch ${input.branch}`);
  if (input.command === 'plan') return { kind: 'granted', pull };
  return applyVerdict(github, input, pull, bound);
}

async function applyVerdict(
  github: PullReader,
  { writtenAt }: CommandInput,
  pull: PullDetails,
  bound: string | null,
): Promise<Verdict> {
  const { head, author } = pull;
  if (pull.fromFork) return refused('Heads from forks are not applied');
  if (bound !== null && head !== bound) {
    return refused(
      `The head has moved from ${shortCommit(bound)} to ${shortCommit(head)}, which needs an approval of its own`,
    );
  }
  if (pull.isDraft) return refused('The pull request is a draft');
  const reviews = await github.reviews();
  if (reviews === 'unavailable') return SILENT;
  const approval = await findApproval(github, reviews, { head, author, writtenAt });
  if (approval !== null) return approval;
  if (pull.mergeable === false) return refused('The head cannot be merged: it is in conflict with its base');
  if (pull.mergeable === null || pull.mergeableState === 'unknown') {
    return { kind: 'unsettled', message: 'GitHub has not said yet whether the head can be merged' };
  }
  if (MERGEABLE.has(pull.mergeableState)) return { kind: 'granted', pull };
  return refused(`The head cannot be merged: by the rules of the branch it is ${pull.mergeableState}`);
}

/** Returns null if there is an approval that counts. */
async function findApproval(
  github: PullReader,
  reviews: readonly Review[],
  wanted: { head: string; author: Person | null; writtenAt: number },
): Promise<Verdict | null> {
  const opinions = lastOpinions(reviews);
  const objection = await findObjection(github, opinions);
  if (objection !== null) return objection;
  const standing = opinions.filter(({ state }) => state === 'APPROVED');
  const { head, author, writtenAt } = wanted;
  const ofHead = standing.filter(({ commit }) => commit === head);
  const inTime = ofHead.filter(({ submittedAt }) => submittedAt <= writtenAt);
  const ofOthers = inTime.filter(({ reviewer }) => author !== null && reviewer?.id !== author.id);
  for (const { reviewer } of ofOthers) {
    const counts = reviewer !== null && (await github.mayWrite(reviewer));
    if (counts === 'unavailable') return SILENT;
    if (counts) return null;
  }
  const commit = shortCommit(head);
  if (ofOthers.length > 0) return refused(`Nobody with write access has approved ${commit}`);
  if (inTime.length > 0) return refused('Nobody approves a pull request of their own');
  if (ofHead.length > 0) return refused(`${commit} was approved after the comment was written`);
  if (standing.length > 0) return refused(`The approval is of another commit than ${commit}, the head`);
  return refused(`Nobody has approved ${commit}`);
}

/** Returns null if nobody with write access objects. An objection also counts for later commits. */
async function findObjection(github: PullReader, opinions: readonly Review[]): Promise<Verdict | null> {
  for (const { state, reviewer } of opinions) {
    if (state !== 'CHANGES_REQUESTED' || reviewer === null) continue;
    const counts = await github.mayWrite(reviewer);
    if (counts === 'unavailable') return SILENT;
    if (counts) return refused(`${reviewer.login} has asked for changes`);
  }
  return null;
}

const OPINIONS: ReadonlySet<string> = new Set(['APPROVED', 'CHANGES_REQUESTED', 'DISMISSED']);

/**
 * The last opinion of each reviewer. Remarks change nothing. A dismissed review keeps its place as the last one, so an
 * older approval by the same person does not count again:
 * https://docs.github.com/en/pull-requests/collaborating-with-pull-requests/reviewing-changes-in-pull-requests/dismissing-a-pull-request-review
 */
function lastOpinions(reviews: readonly Review[]): Review[] {
  const last = new Map<number, Review>();
  for (const review of reviews.toSorted((a, b) => a.submittedAt - b.submittedAt)) {
    if (OPINIONS.has(review.state) && review.reviewer !== null) last.set(review.reviewer.id, review);
  }
  return [...last.values()];
}

function refused(message: string): Verdict {
  return { kind: 'refused', reason: 'not_approved', message };
}
