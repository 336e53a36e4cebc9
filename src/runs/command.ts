/** The input of a run for a comment command on a pull request. */

export const COMMANDS = ['plan', 'apply'] as const;

export type Command = (typeof COMMANDS)[number];

export interface CommandInput {
  command: Command;
  /** `owner/name` of the operator's own repository. */
  repository: string;
  pullRequest: number;
  /** The author of the comment, who is the sender of the signed webhook. A name may get another owner, an id does not. */
  author: { id: number; login: string };
  commentId: number;
  /** The time of the comment, by GitHub's clock, in ms since the epoch. A later approval does not count for it. */
  writtenAt: number;
  /** The branch that the pull request must be for. */
  branch: string;
  /** Free of credentials. */
  cloneUrl: string;
  /** Base of GitHub's API, no final slash. */
  apiUrl: string;
}
