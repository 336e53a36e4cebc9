/** Starts the loops that write statuses and comments to GitHub. */

import type { RunKind } from '../runs/run.ts';
import { createCommentSender, type StickyComment } from './comments/comment-sender.ts';
import {
  commandReplies,
  type PlanCommentsOptions,
  type PreviewCommentsOptions,
  planComments,
  previewComments,
} from './comments/sticky-comments.ts';
import {
  type Sender,
  type SendingLoop,
  type SendingLoopOptions,
  startSendingLoop,
} from './outbox/sending-loop.ts';
import { createWriteLane, type WriteLaneOptions } from './outbox/write-lane.ts';
import { createStatusSender, type StatusSenderOptions } from './statuses/status-sender.ts';

type LoopOptions = Omit<SendingLoopOptions, 'senders'> & WriteLaneOptions;

export interface GitHubReporterOptions extends LoopOptions, Omit<StatusSenderOptions, 'lane'> {
  store: StatusSenderOptions['store'];
  /** With these, comments on pull requests are written as well, with our own token. */
  comments?: Pick<PreviewCommentsOptions, 'client'> & {
    store: PreviewCommentsOptions['store'] & PlanCommentsOptions['store'];
  };
}

/** Writes the statuses and comments that need our own token. */
export function startGitHubReporter(options: GitHubReporterOptions): SendingLoop {
  const { comments, store, log, repository, runUrl } = options;
  const host = createWriteLane(options);
  const senders: Sender[] = [
    { what: 'commit statuses', sendNext: createStatusSender({ ...options, lane: host.ofKind() }) },
  ];
  if (comments) {
    const lane = host.ofKind();
    const openClient = async () => comments.client;
    const add = <K extends RunKind>(what: string, comment: StickyComment<K>): number =>
      senders.push({ what, sendNext: createCommentSender({ store, log, lane }, comment) });
    add('previews', previewComments({ ...comments, repository, runUrl }));
    add('plans', planComments({ store: comments.store, credential: 'configured', openClient, runUrl }));
    add('replies to commands', commandReplies({ ...comments, runUrl }));
  }
  return startSendingLoop({ ...options, senders });
}

export interface RequestCommentsOptions extends LoopOptions, Omit<PlanCommentsOptions, 'credential'> {
  store: PlanCommentsOptions['store'] & StatusSenderOptions['store'];
}

/** Writes the comments of plans whose requests brought a token. They have their own loop, so that they delay nothing else. */
export function startRequestComments(options: RequestCommentsOptions): SendingLoop {
  const lane = createWriteLane(options);
  const comments = planComments({ ...options, credential: 'sealed' });
  const sendNext = createCommentSender({ ...options, lane }, comments);
  return startSendingLoop({ ...options, senders: [{ what: 'comments with plans', sendNext }] });
}
