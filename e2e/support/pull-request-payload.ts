/** Builds the payload of a pull request event as GitHub does, from Octokit's example with our names. */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { z } from 'zod';
import { describeRepository, describeUser } from './github-repository.ts';

export interface PullRequestEvent {
  action: string;
  number: number;
  /** The full commit id of the head. */
  head: string;
  /** `owner/name` of the repository that receives the pull request. */
  fullName: string;
  /** Default: main. */
  base?: string;
  draft?: boolean;
  /** The values before an edit. */
  changes?: Record<string, unknown>;
  /** `owner/name` of the fork that contains the head. Default: the repository itself. */
  fork?: string;
}

const record = z.record(z.string(), z.unknown());
const exampleSchema = z.looseObject({
  action: z.string(),
  pull_request: z.looseObject({ head: record, base: record }),
});
type Example = z.infer<typeof exampleSchema>;

let examples: Example[] | undefined;

function pullRequestExamples(): Example[] {
  if (examples) return examples;
  const file = createRequire(import.meta.url).resolve('@octokit/webhooks-examples/api.github.com/index.json');
  const events = z
    .array(z.object({ name: z.string(), examples: z.array(z.unknown()) }))
    .parse(JSON.parse(readFileSync(file, 'utf8')));
  const found = events.find(({ name }) => name === 'pull_request')?.examples ?? [];
  examples = z.array(exampleSchema).parse(found);
  return examples;
}

/** Uses the example of the action if there is one, else the example of `opened`. */
export function buildPullRequestPayload(event: PullRequestEvent): Record<string, unknown> {
  const { action, number, head, fullName, base = 'main', draft = false, fork = fullName } = event;
  const all = pullRequestExamples();
  const example = all.find((one) => one.action === action) ?? all.find((one) => one.action === 'opened');
  if (!example) throw new Error('There is no example of a pull request.');
  const { pull_request: pull } = example;
  return {
    ...example,
    action,
    ...(event.changes && { changes: event.changes }),
    number,
    pull_request: {
      ...pull,
      number,
      draft,
      head: { ...pull.head, sha: head, repo: describeRepository(fork) },
      base: { ...pull.base, ref: base, repo: describeRepository(fullName) },
    },
    repository: describeRepository(fullName),
    sender: describeUser('octocat'),
  };
}
