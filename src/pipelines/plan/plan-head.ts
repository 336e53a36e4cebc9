/** Decides whether the head of a pull request still needs a plan, and whether it may be planned. */

import type { PullDetails } from '../../github/pull-reader.ts';
import type { PlanRun } from '../../runs/run.ts';
import type { RunEvent } from '../../runs/run-events.ts';
import { shortCommit } from '../../runs/texts/short-commit.ts';
import { SECOND } from '../../units.ts';
import type { Outcome } from '../pipeline.ts';

type PullFacts = Pick<PullDetails, 'isOpen' | 'head' | 'fromFork'>;

/** Null if there is no token, or if it can see no such pull request. Then the request is believed. */
export type LookedUp = PullFacts | 'unavailable' | null;

export interface HeadOptions {
  latestEvent<T extends RunEvent['type']>(
    runId: string,
    type: T,
  ): Promise<Extract<RunEvent, { type: T }> | null>;
  approvalTimeoutMs: number;
  now(): number;
}

/** Some of GitHub's servers may not know a head yet that was pushed a moment ago. */
const SECOND_LOOK_MS = 10 * SECOND;

/** While GitHub does not answer, it is asked again. After the limit the head counts as a stranger's. */
const ASK_AGAIN_MS = 15 * SECOND;
const UNAVAILABLE_MS = 120 * SECOND;

/** Returns null if the head is to be planned now. */
export async function whyNotPlanned(
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
  const outdated = facts && (await whyOutdated(options, run, facts));
  if (outdated) return outdated;
  const fromFork = isUnknown || run.input.fromFork || facts?.fromFork === true;
  return fromFork && !(await isApproved(options, run)) ? awaitApproval(options, run) : null;
}

/** Returns null if the head still needs a plan. */
async function whyOutdated(
  options: HeadOptions,
  run: PlanRun,
  { isOpen, head }: PullFacts,
): Promise<Outcome | null> {
  if (!isOpen) {
    return { state: 'superseded', reason: 'pull_request_closed', message: 'The pull request is closed' };
  }
  if (head === run.input.revision) return null;
  const message = `The pull request is at ${shortCommit(head)}`;
  if ((await options.latestEvent(run.id, 'run.requeued')) === null) {
    const notBefore = options.now() + SECOND_LOOK_MS;
    return { state: 'queued', notBefore, message: `${message}; looking again soon` };
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
    message: `The head ${shortCommit(input.revision)} may be from a fork, so its plan needs an approval`,
  };
}
