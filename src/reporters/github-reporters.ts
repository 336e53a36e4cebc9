/** Starts the loops that write statuses and comments to GitHub. */

import type { Run, RunKind } from '../runs/run.ts';
import { createCommentSender, type StickyComment } from './comments/comment-sender.ts';
import {
  commandReplies,
  type PlanCommentsOptions,
  type PreviewCommentsOptions,
  planComments,
  previewComments,
} from './comments/sticky-comments.ts';
import { createDeploymentSender } from './deployments/deployment-sender.ts';
import { type ClientOptions, commentsOf, createLanes, type LaneOf, type TargetOf } from './github-target.ts';
import {
  type Sender,
  type SendingLoop,
  type SendingLoopOptions,
  startSendingLoop,
} from './outbox/sending-loop.ts';
import { createWriteLane, type WriteLane, type WriteLaneOptions } from './outbox/write-lane.ts';
import type { ReportingStore, StatusKind } from './statuses/owed-statuses.ts';
import { runStatuses } from './statuses/run-statuses.ts';
import { serviceStatuses } from './statuses/service-statuses.ts';
import { createStatusSender } from './statuses/status-sender.ts';

type LoopOptions = Omit<SendingLoopOptions, 'senders'> & WriteLaneOptions;

export interface GitHubReporterOptions extends LoopOptions {
  store: ReportingStore & PreviewCommentsOptions['store'] & PlanCommentsOptions['store'];
  targetOf: TargetOf;
  client: ClientOptions;
  /** The page that a report links to: absolute, http or https. */
  runUrl(runId: string): string;
  /** False: comments on pull requests are left to another reporter. */
  comments: boolean;
}

/** Writes the statuses and comments that need our own tokens. */
export function startGitHubReporter(options: GitHubReporterOptions): SendingLoop {
  const host = createWriteLane(options);
  const lanesOfKind = createLanes(host);
  const statusSender = (kind: StatusKind): Sender['sendNext'] =>
    createStatusSender({ ...options, kind, laneOf: lanesOfKind() });
  const deployments = createDeploymentSender({ ...options, laneOf: lanesOfKind() });
  // Those at the beginning have the first turn when the limits allow a write.
  const senders: Sender[] = [
    { what: 'commit statuses', sendNext: statusSender(runStatuses(options.store)) },
    { what: 'deployments', sendNext: deployments },
    ...(options.comments ? commentSenders(options, host.ofRepository(), lanesOfKind()) : []),
    { what: 'statuses of services', sendNext: statusSender(serviceStatuses(options.store, host.now)) },
  ];
  return startSendingLoop({ ...options, senders });
}

/** `rest` is the lane of runs without a repository. Nothing is sent about them. */
function commentSenders(options: GitHubReporterOptions, rest: WriteLane, laneOfTarget: LaneOf): Sender[] {
  const { store, targetOf, client, log, runUrl } = options;
  const laneOf = (run: Run): WriteLane => {
    const target = targetOf(run);
    return target ? laneOfTarget(target) : rest;
  };
  const openClient = async (run: Run) => {
    const target = targetOf(run);
    return target && commentsOf(target, client);
  };
  function sender<K extends RunKind>(what: string, comment: StickyComment<K>): Sender {
    return { what, sendNext: createCommentSender({ store, log, laneOf }, comment) };
  }
  return [
    sender('previews', previewComments(options)),
    sender('plans', planComments({ store, credential: 'configured', openClient, runUrl })),
    sender('replies to commands', commandReplies(options)),
  ];
}

export interface RequestCommentsOptions extends LoopOptions, Omit<PlanCommentsOptions, 'credential'> {
  store: PlanCommentsOptions['store'] & ReportingStore;
}

/** Writes the comments of plans whose requests brought a token. They have their own loop, so that they delay nothing else. */
export function startRequestComments(options: RequestCommentsOptions): SendingLoop {
  const lane = createWriteLane(options);
  const comments = planComments({ ...options, credential: 'sealed' });
  const sendNext = createCommentSender({ ...options, laneOf: () => lane }, comments);
  return startSendingLoop({ ...options, senders: [{ what: 'comments with plans', sendNext }] });
}
