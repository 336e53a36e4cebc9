/** Reads from GitHub which deliveries of our webhook did not arrive in the last days. */

import type { Octokit } from '@octokit/rest';
import { z } from 'zod';
import { describeAnswer, isLimited } from './github-answer.ts';
import {
  describeSilence,
  type GitHubClientOptions,
  isOddAnswer,
  loadOctokit,
  readAnswer,
  readPages,
} from './github-client.ts';

export interface FailedDelivery {
  /** X-GitHub-Delivery. */
  deliveryId: string;
  event: string;
  /** The answer that GitHub got at the last try, or 0 if it got none. */
  statusCode: number;
  /** The time of the last try, in milliseconds since the epoch. */
  deliveredAt: number;
}

/** Problems are one line and never hold a secret. */
export type FailedDeliveries =
  | { kind: 'ok'; failed: FailedDelivery[] }
  /** None of the repository's webhooks has our address. */
  | { kind: 'no_hook' }
  /** The token may not read webhooks. */
  | { kind: 'not_allowed'; problem: string }
  | { kind: 'unavailable'; problem: string };

export interface HookOptions extends GitHubClientOptions {
  repository: { owner: string; repo: string };
  /** The address that GitHub delivers to, for example https://iac.example.com/webhook. */
  hookUrl: string;
}

const PER_PAGE = 100;
/** 5,000 deliveries in three days are more than a push a minute. */
const MAX_PAGES = 50;

const hooksSchema = z.array(z.object({ id: z.number(), config: z.object({ url: z.string().optional() }) }));
const deliveriesSchema = z.array(
  z.object({
    guid: z.string(),
    delivered_at: z.string().transform((text) => Date.parse(text)),
    status_code: z.number(),
    event: z.string(),
  }),
);
type Attempt = z.output<typeof deliveriesSchema>[number];

/** Returns the deliveries since `since` (in ms since the epoch) of which no try has succeeded. Never throws. */
export async function readFailedDeliveries(options: HookOptions, since: number): Promise<FailedDeliveries> {
  try {
    const octokit = await loadOctokit(options);
    const hookId = await findHook(octokit, options);
    if (hookId === null) return { kind: 'no_hook' };
    return { kind: 'ok', failed: failedOf(await listAttempts(octokit, options, hookId, since)) };
  } catch (error) {
    return describeProblem(error, options.token);
  }
}

async function findHook(octokit: Octokit, { repository, hookUrl }: HookOptions): Promise<number | null> {
  const pages = readPages(hooksSchema, (page) => octokit.rest.repos.listWebhooks({ ...repository, ...page }));
  for await (const hooks of pages) {
    const ours = hooks.find(({ config }) => URL.parse(config.url ?? '')?.href === new URL(hookUrl).href);
    if (ours) return ours.id;
  }
  return null;
}

/** Newest first, as GitHub lists them. */
async function listAttempts(
  octokit: Octokit,
  { repository }: HookOptions,
  hookId: number,
  since: number,
): Promise<Attempt[]> {
  const attempts: Attempt[] = [];
  let cursor: string | undefined;
  for (let page = 1; page <= MAX_PAGES; page += 1) {
    const { data, headers } = await octokit.rest.repos.listWebhookDeliveries({
      ...repository,
      hook_id: hookId,
      per_page: PER_PAGE,
      ...(cursor === undefined ? {} : { cursor }),
    });
    const found = deliveriesSchema.parse(data);
    attempts.push(...found.filter(({ delivered_at: at }) => at >= since));
    cursor = nextCursor(headers.link);
    if (cursor === undefined || found.some(({ delivered_at: at }) => at < since)) break;
  }
  return attempts;
}

/** Takes only the cursor from the link, so that an answer cannot choose where the next request goes. */
function nextCursor(link: string | undefined): string | undefined {
  const [, address = ''] = /<([^>]*)>;\s*rel="next"/.exec(link ?? '') ?? [];
  return URL.parse(address)?.searchParams.get('cursor') ?? undefined;
}

/** A redelivery is another try with the same id. */
function failedOf(attempts: readonly Attempt[]): FailedDelivery[] {
  const arrived = new Set(attempts.filter(succeeded).map(({ guid }) => guid));
  const failed = new Map<string, FailedDelivery>();
  for (const { guid, event, status_code: statusCode, delivered_at: deliveredAt } of attempts) {
    if (arrived.has(guid) || failed.has(guid)) continue;
    failed.set(guid, { deliveryId: guid, event, statusCode, deliveredAt });
  }
  return [...failed.values()];
}

function succeeded({ status_code: status }: Attempt): boolean {
  return status >= 200 && status < 300;
}

function describeProblem(error: unknown, token: string): FailedDeliveries {
  if (isOddAnswer(error))
    return { kind: 'unavailable', problem: "GitHub's answer has another form, or does not end." };
  const answer = readAnswer(error, token);
  if (!answer) return { kind: 'unavailable', problem: `GitHub did not answer (${describeSilence(error)}).` };
  // GitHub answers 404 for things that the token may not see.
  const refused = answer.status === 404 || (answer.status === 403 && !isLimited(answer));
  return { kind: refused ? 'not_allowed' : 'unavailable', problem: describeAnswer(answer) };
}
