/** Whether the head of a pull request is still worth a plan, and whether it may be planned. */

import type { PlanRun } from '../../runs/run.ts';
import type { RunEvent } from '../../runs/run-events.ts';
import type { Outcome } from '../pipeline.ts';

/** What GitHub says of the pull request now. */
interface PullRequestFacts {
  isOpen: boolean;
  /** Full commit id. */
  head: string;
  /** The head is in another repository than the base. */
  fromFork: boolean;
}

/** Null: GitHub gives no answer about it to this token, so what the request says counts. */
export type LookedUp = PullRequestFacts | 'unavailable' | null;

export interface HeadOptions {
  latestEvent<T extends RunEvent['type']>(
    runId: string,
    type: T,
  ): Promise<Extract<RunEvent, { type: T }> | null>;
  approvalTimeoutMs: number;
  now(): number;
}

/** Not all of GitHub's servers may know a head that was pushed a moment ago. */
const SECOND_LOOK_MS = 10_000;

/** While GitHub does not answer it is asked again this often, for so long; then the head counts as a stranger's. */
const ASK_AGAIN_MS = 15_000;
const UNAVAILABLE_MS = 120_000;

/** Null when it is to be planned now. */
export async function judgeHead(
  options: HeadOptions,
  run: PlanRun,
  lookedUp: LookedUp,
): Promise<Outcome | null> {
  const isUnknown = lookedUp === 'unavailable';
  if (isUnknown && options.now() < run.createdAt + UNAVAILABLE_MS) {
    const notBefore = options.now() + ASK_AGAIN_MS;
    return { state: 'queued', notBefore, message: 'GitHub does not answer; asking it again soon' };
  }
  const facts = isUnknown ? null : lookedUp;
  const outdated = facts && (await judgeFacts(options, run, facts));
  if (outdated) return outdated;
  const fromFork = isUnknown || run.input.fromFork || facts?.fromFork === true;
  return fromFork && !(await isApproved(options, run)) ? awaitApproval(options, run) : null;
}

/** Null when the head is still worth a plan. */
async function judgeFacts(
  options: HeadOptions,
  run: PlanRun,
  facts: PullRequestFacts,
): Promise<Outcome | null> {
  if (!facts.isOpen) {
    return { state: 'superseded', reason: 'pull_request_closed', message: 'The pull request is closed' };
  }
  if (facts.head === run.input.revision) return null;
  const message = `The pull request is at ${facts.head.slice(0, 8)}`;
  if ((await options.latestEvent(run.id, 'run.requeued')) === null) {
    return {
      state: 'queued',
      notBefore: options.now() + SECOND_LOOK_MS,
      message: `${message}; looking again soon`,
    };
  }
  return { state: 'superseded', reason: 'covered_by_newer', message: `${message} by now` };
}

async function isApproved({ latestEvent }: HeadOptions, { id, input }: PlanRun): Promise<boolean> {
  const decision = await latestEvent(id, 'run.decided');
  return decision?.decision === 'approved' && decision.subject === input.revision;
}

function awaitApproval({ now, approvalTimeoutMs }: HeadOptions, { input }: PlanRun): Outcome {
  return {
    state: 'awaiting_approval',
    subject: input.revision,
    expiresAt: now() + approvalTimeoutMs,
    message: `The head ${input.revision.slice(0, 8)} may be from a fork: a plan of it needs an approval`,
  };
}
