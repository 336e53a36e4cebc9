/** What a comment on a pull request asks for. */

export const COMMANDS = ['plan', 'apply'] as const;

export type Command = (typeof COMMANDS)[number];

export interface CommandInput {
  command: Command;
  /** `owner/name` of the operator's own repository. */
  repository: string;
  pullRequest: number;
  /** Who wrote the comment: the sender of the signed webhook. Names change hands, ids do not. */
  author: { id: number; login: string };
  commentId: number;
  /** When, by GitHub's clock, in ms since the epoch: what was approved later was not meant. */
  writtenAt: number;
  /** The branch that the pull request must be for. */
  branch: string;
  /** Free of credentials. */
  cloneUrl: string;
  /** Base of GitHub's API, no final slash. */
  apiUrl: string;
}
