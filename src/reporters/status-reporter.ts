/** Tells GitHub what became of every run: one serial loop over what the store says is not told yet. */

import { createCommentTeller } from './comment-teller.ts';
import { createStatusTeller, type StatusTellerOptions } from './status-teller.ts';
import {
  commandReplies,
  type PlanCommentsOptions,
  type PreviewCommentsOptions,
  planComments,
  previewComments,
} from './sticky-comments.ts';
import { startTellingLoop } from './telling-loop.ts';
import { createWriteLane, type WriteLaneOptions } from './write-lane.ts';

export interface StatusReporterOptions extends Omit<StatusTellerOptions, 'lane'>, WriteLaneOptions {
  /** How comments of pull requests are told, too, in our own name. */
  comments?: Pick<PreviewCommentsOptions, 'client'> & {
    store: PreviewCommentsOptions['store'] & PlanCommentsOptions['store'];
  };
  /** Resolves after `ms`, or as soon as `signal` is aborted. */
  sleep?(ms: number, signal: AbortSignal): Promise<void>;
}

export interface StatusReporter {
  /** Ends the request under way and returns. What is not told yet is told after the next start. */
  stop(): Promise<void>;
  /** Resolves when nothing stored by now is left to tell (told, or given up), or after stop. */
  idle(): Promise<void>;
}

export function startStatusReporter(options: StatusReporterOptions): StatusReporter {
  const { comments, store, log, repository, runUrl } = options;
  const lane = createWriteLane(options);
  const tellers = [createStatusTeller({ ...options, lane })];
  if (comments) {
    const openClient = async () => comments.client;
    const previews = previewComments({ ...comments, repository, runUrl });
    const plans = planComments({ store: comments.store, credential: 'configured', openClient, runUrl });
    tellers.push(createCommentTeller({ store, log, lane }, previews));
    tellers.push(createCommentTeller({ store, log, lane }, plans));
    tellers.push(createCommentTeller({ store, log, lane }, commandReplies({ ...comments, runUrl })));
  }

  /** Each tells at most one thing, statuses first. Returns the ms until the next round, or null when nothing is left. */
  async function tellNext(): Promise<number | null> {
    const waits: number[] = [];
    for (const tell of tellers) {
      const waitMs = await tell();
      if (waitMs !== null) waits.push(waitMs);
    }
    return waits.length > 0 ? Math.min(...waits) : null;
  }

  return startTellingLoop({ ...options, what: 'commit statuses', tellNext });
}
