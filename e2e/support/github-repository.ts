/** A repository and a user as GitHub describes them, from Octokit's example of a push, with our names. */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { z } from 'zod';

const record = z.record(z.string(), z.unknown());
const exampleSchema = z.object({ repository: record, sender: record });
type Example = z.infer<typeof exampleSchema>;

let example: Example | undefined;

function pushExample(): Example {
  if (example) return example;
  const file = createRequire(import.meta.url).resolve('@octokit/webhooks-examples/api.github.com/index.json');
  const events = z
    .array(z.object({ name: z.string(), examples: z.array(z.unknown()) }))
    .parse(JSON.parse(readFileSync(file, 'utf8')));
  example = exampleSchema.parse(events.find((event) => event.name === 'push')?.examples[0]);
  return example;
}

/** The form in a webhook payload, where the times of the repository are seconds since the epoch. */
export function describeRepository(fullName: string, defaultBranch = 'main'): Record<string, unknown> {
  const [owner = '', name = ''] = fullName.split('/');
  const renamed: unknown = JSON.parse(
    JSON.stringify(pushExample().repository)
      .replaceAll('Codertocat/Hello-World', fullName)
      .replaceAll('Codertocat', owner)
      .replaceAll('Hello-World', name),
  );
  return {
    ...record.parse(renamed),
    private: true,
    default_branch: defaultBranch,
    master_branch: defaultBranch,
  };
}

/** The form in an answer of the API. */
export function describeFullRepository(fullName: string, defaultBranch = 'main'): Record<string, unknown> {
  const described = describeRepository(fullName, defaultBranch);
  const time = '2026-01-05T08:00:00Z';
  return {
    ...described,
    created_at: time,
    pushed_at: time,
    updated_at: time,
    has_discussions: false,
    subscribers_count: 0,
    network_count: 0,
  };
}

export function describeUser(login: string): Record<string, unknown> {
  return { ...pushExample().sender, login };
}
