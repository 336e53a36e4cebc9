/** Builds the payload of a comment event as GitHub does, from Octokit's example with our names. */

import { z } from 'zod';
import { webhookExamples } from './github-examples.ts';
import { describePerson } from './github-people.ts';
import { describeRepository } from './github-repository.ts';

export interface CommentEvent {
  number: number;
  body: string;
  /** The login of the author of the comment. */
  author: string;
  fullName: string;
  /** Default: an id that no other comment has. */
  id?: number;
  /** Default: created. */
  action?: 'created' | 'edited' | 'deleted';
  /** Default: the author. */
  sender?: string;
  /** RFC 3339. Default: now. */
  at?: string;
  /** Set for a plain issue instead of a pull request. */
  isIssue?: boolean;
}

const exampleSchema = z.looseObject({
  issue: z.looseObject({ number: z.number() }),
  comment: z.looseObject({ id: z.number() }),
});

let lastId = 50_000;

export function buildCommentPayload(event: CommentEvent): Record<string, unknown> {
  const { number, body, author, fullName, action = 'created', sender = author, isIssue = false } = event;
  const example = exampleSchema.parse(
    webhookExamples().find((one) => one.event === 'issue_comment')?.payload,
  );
  lastId += 1;
  const at = event.at ?? new Date().toISOString();
  const address = `https://api.github.com/repos/${fullName}/pulls/${number}`;
  const page = `https://github.com/${fullName}/pull/${number}`;
  const { pull_request: _none, ...issue } = example.issue;
  return {
    ...example,
    action,
    issue: {
      ...issue,
      number,
      ...(isIssue
        ? {}
        : {
            pull_request: {
              url: address,
              html_url: page,
              diff_url: `${page}.diff`,
              patch_url: `${page}.patch`,
            },
          }),
    },
    comment: {
      ...example.comment,
      id: event.id ?? lastId,
      body,
      // This value of GitHub is not reliable, so the server must not use it.
      author_association: 'OWNER',
      created_at: at,
      updated_at: at,
      user: describePerson(author),
    },
    repository: describeRepository(fullName),
    sender: describePerson(sender),
  };
}
