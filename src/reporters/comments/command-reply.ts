/** Writes the comment that answers a comment command: what was done, or why nothing was done and how to fix that. Pure. */

import { nextActionOf } from '../../runs/kinds/kinds.ts';
import type { CommandRun, Step } from '../../runs/run.ts';
import { code, prose } from './markdown.ts';

/** The run's page lists any further folders. */
const MAX_ROOTS = 50;

/**
 * Each command has its own reply. People without permission share one reply for the whole pull request, so that nobody
 * can fill it with our comments.
 */
export function replyKey({ id, reason, input: { pullRequest } }: CommandRun): string {
  return reason === 'not_allowed' ? `#${pullRequest}` : id;
}

export function replyMark({ reason, input: { commentId } }: CommandRun): string {
  return `<!-- iac-runner:command:${reason === 'not_allowed' ? 'refused' : commentId} -->`;
}

export function commandReply({
  run,
  steps,
  url,
}: {
  run: CommandRun;
  steps: readonly Step[];
  url: string;
}): string {
  const { input, state, message, revision } = run;
  const next = state === 'succeeded' ? null : nextActionOf(run);
  const asked = `${code(`iac-runner ${input.command}`)} by ${code(input.author.login)}`;
  const shown = steps.slice(0, MAX_ROOTS).map((step) => {
    const said = step.state === 'succeeded' ? prose(step.message) : `**${prose(step.message)}**`;
    return `- ${code(step.id.replace(/^deploy /, ''))}: ${said}`;
  });
  return [
    replyMark(run),
    `${asked}: **${prose(message)}**${next === null ? '' : `. ${prose(next)}`} · [log](${url})`,
    ...(revision !== null && steps.length > 0 ? ['', `Commit ${code(revision)}`] : []),
    ...(shown.length > 0 ? ['', ...shown] : []),
    ...(steps.length > MAX_ROOTS ? [`- and ${steps.length - MAX_ROOTS} more`] : []),
  ].join('\n');
}
