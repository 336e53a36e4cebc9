/** Tells GitHub what became of every run: one serial loop over what the store says is not told yet. */

import type { RunKind } from '../../runs/run.ts';
import { createCommentTeller, type StickyComment } from '../comments/comment-teller.ts';
import {
  commandReplies,
  type PlanCommentsOptions,
  type PreviewCommentsOptions,
  planComments,
  previewComments,
} from '../comments/sticky-comments.ts';
import { startTellingLoop, type Teller, type TellingLoopOptions } from '../outbox/telling-loop.ts';
import type { WakeUp } from '../outbox/wake-up.ts';
import { createWriteLane, type WriteLaneOptions } from '../outbox/write-lane.ts';
import { createStatusTeller, type StatusTellerOptions } from './status-teller.ts';

export interface StatusReporterOptions
  extends Omit<StatusTellerOptions, 'lane'>,
    Pick<TellingLoopOptions, 'onFailure'>,
    WriteLaneOptions {
  /** How comments of pull requests are told, too, in our own name. */
  comments?: Pick<PreviewCommentsOptions, 'client'> & {
    store: PreviewCommentsOptions['store'] & PlanCommentsOptions['store'];
  };
  /** Resolves after `ms`, or as soon as `until` is due. */
  sleep?(ms: number, until: WakeUp): Promise<void>;
}

export interface StatusReporter {
  /** Ends the request under way and returns. What is not told yet is told after the next start. */
  stop(): Promise<void>;
  /** Resolves when nothing stored by now is left to tell (told, or given up), or after stop. */
  idle(): Promise<void>;
}

export function startStatusReporter(options: StatusReporterOptions): StatusReporter {
  const { comments, store, log, repository, runUrl } = options;
  const host = createWriteLane(options);
  const tellers: Teller[] = [
    { what: 'commit statuses', tellNext: createStatusTeller({ ...options, lane: host.ofKind() }) },
  ];
  if (comments) {
    const lane = host.ofKind();
    const openClient = async () => comments.client;
    const tell = <K extends RunKind>(what: string, comment: StickyComment<K>): number =>
      tellers.push({ what, tellNext: createCommentTeller({ store, log, lane }, comment) });
    tell('previews', previewComments({ ...comments, repository, runUrl }));
    tell('plans', planComments({ store: comments.store, credential: 'configured', openClient, runUrl }));
    tell('replies to commands', commandReplies({ ...comments, runUrl }));
  }
  return startTellingLoop({ ...options, tellers });
}
