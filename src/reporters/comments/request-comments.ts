/** Tells plans by the tokens that came with their requests, apart from whatever is told in our own name. */

import { startTellingLoop, type TellingLoop, type TellingLoopOptions } from '../outbox/telling-loop.ts';
import { createWriteLane, type WriteLaneOptions } from '../outbox/write-lane.ts';
import { type CommentTellerOptions, createCommentTeller } from './comment-teller.ts';
import { type PlanCommentsOptions, planComments } from './sticky-comments.ts';

export interface RequestCommentsOptions
  extends Omit<PlanCommentsOptions, 'credential' | 'store'>,
    Omit<CommentTellerOptions, 'lane' | 'store'>,
    Pick<TellingLoopOptions, 'sleep' | 'onFailure'>,
    WriteLaneOptions {
  store: PlanCommentsOptions['store'] & CommentTellerOptions['store'] & TellingLoopOptions['store'];
}

export function startRequestComments(options: RequestCommentsOptions): TellingLoop {
  const lane = createWriteLane(options);
  const comments = planComments({ ...options, credential: 'sealed' });
  const tellNext = createCommentTeller({ ...options, lane }, comments);
  return startTellingLoop({ ...options, tellers: [{ what: 'comments with plans', tellNext }] });
}
