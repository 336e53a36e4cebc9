/** POST /webhook, event issue_comment: a comment command becomes a run that is stored before the answer. */

import type { Context } from 'hono';
import { z } from 'zod';
import { RequestError } from '../../errors.ts';
import type { Command, CommandInput } from '../../runs/command.ts';
import { enqueueRun } from '../../runs/enqueue.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { isSameRepository } from '../../runs/sync/place.ts';
import { commandIn } from './command-in.ts';
import { type Inbox, shownName } from './inbox.ts';

export interface CommentOptions {
  store: RunStore;
  inbox: Inbox;
  /**
   * The repositories whose comments are obeyed, with the branch that the pull request must be for, and where the commits
   * come from. Empty if comments are ignored.
   */
  commands?: readonly Pick<CommandInput, 'repository' | 'cloneUrl' | 'apiUrl' | 'branch'>[] | undefined;
  runUrl(runId: string): string;
}

const userSchema = z.object({ id: z.number(), login: z.string(), type: z.string().nullish() });
const commentSchema = z.object({
  action: z.string(),
  issue: z.object({ number: z.number().int().positive(), pull_request: z.unknown().optional() }),
  comment: z.object({
    id: z.number().int().positive(),
    body: z.string().nullish(),
    created_at: z.string(),
    user: userSchema.nullable(),
  }),
  repository: z.object({ full_name: z.string() }),
  sender: userSchema,
});
type Payload = z.output<typeof commentSchema>;

/** Our own comments start with this; a plan in them may contain anything. */
const OURS = /^<!-- (iac-runner|runners-poc):/;

/** Returns the answer by the table of docs/plans.md. Throws RequestError 400 for a body of another form. */
export async function answerComment(
  options: CommentOptions,
  context: Context,
  body: unknown,
): Promise<object> {
  const parsed = commentSchema.safeParse(body);
  if (!parsed.success) throw new RequestError(400, 'The body is not a payload of a comment');
  const { store, inbox, commands = [], runUrl } = options;
  const { issue, comment, sender } = parsed.data;
  const command = commandIn(comment.body ?? '');
  const own = commands.find(({ repository }) =>
    isSameRepository(parsed.data.repository.full_name, repository),
  );
  const others = commands.map(({ repository }) => repository).join(' or ');
  const reason = reasonToIgnore(parsed.data, command, own ? null : others);
  if (reason !== null || command === null || !own) return inbox.ignored(context, reason ?? NO_COMMAND);
  const { run } = await enqueueRun(store, 'command', {
    trigger: { source: 'comment', actor: sender.login, deliveryId: inbox.idOf(context) },
    input: {
      ...own,
      command,
      pullRequest: issue.number,
      author: { id: sender.id, login: sender.login },
      commentId: comment.id,
      // With a time that cannot be read, no approval counts as older than the comment.
      writtenAt: Date.parse(comment.created_at) || 0,
    },
    delivery: { event: 'issue_comment', detail: `iac-runner ${command} on #${issue.number}` },
  });
  return { status: 'accepted', command, pull_request: issue.number, run_id: run.id, url: runUrl(run.id) };
}

const NO_COMMAND = 'No command';

function reasonToIgnore(
  { action, issue, comment, sender }: Payload,
  command: Command | null,
  /** The repositories that the comment is not from; null if it is from one whose comments are obeyed. */
  others: string | null,
): string | null {
  // An edited comment may say something that nobody had read when others answered it.
  if (action !== 'created') return `Action ${shownName(action)}`;
  if (others !== null) return `Not repository ${others}`;
  if (command === null || OURS.test(comment.body ?? '')) return NO_COMMAND;
  if (issue.pull_request === undefined || issue.pull_request === null) return 'Not a pull request';
  if (sender.type !== 'User') return 'A comment of a bot';
  const isAuthor = comment.user?.id === sender.id && comment.user.login === sender.login;
  return isAuthor ? null : 'The sender did not write the comment';
}
