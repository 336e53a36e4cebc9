/** Every example of a webhook that is part of GitHub's own client library. */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { z } from 'zod';

export interface WebhookExample {
  /** The value of X-GitHub-Event. */
  event: string;
  payload: Record<string, unknown>;
}

const eventsSchema = z.array(
  z.object({ name: z.string(), examples: z.array(z.record(z.string(), z.unknown())) }),
);

/** The examples of @octokit/webhooks-examples, in its order. */
export function webhookExamples(): WebhookExample[] {
  const file = createRequire(import.meta.url).resolve('@octokit/webhooks-examples/api.github.com/index.json');
  const events = eventsSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
  return events.flatMap(({ name, examples }) => examples.map((payload) => ({ event: name, payload })));
}
