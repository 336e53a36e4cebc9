/** What GitHub says about the deliveries of our webhook: those of the last days that did not arrive. */

import { z } from 'zod';
import { describeSilence, type GitHubClientOptions, loadOctokit, readAnswer } from './github-client.ts';

export interface FailedDelivery {
  /** X-GitHub-Delivery. */
  deliveryId: string;
  event: string;
  /** What GitHub got as an answer at the last try; 0 when it got none. */
  statusCode: number;
  /** Of the last try, milliseconds since the epoch. */
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

export interface HookReader {
  /** Deliveries tried since then (ms since the epoch) of which no try has succeeded. Never throws. */
  failedDeliveries(since: number): Promise<FailedDeliveries>;
}

export interface HookReaderOptions extends GitHubClientOptions {
  repository: { owner: string; repo: string };
  /** The address that GitHub delivers to, e.g. https://iac.example.com/webhook. */
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
type Octokit = Awaited<ReturnType<typeof loadOctokit>>;

export function createHookReader(options: HookReaderOptions): HookReader {
  return {
    async failedDeliveries(since) {
      try {
        const octokit = await loadOctokit(options);
        const hookId = await findHook(octokit, options);
        if (hookId === null) return { kind: 'no_hook' };
        return { kind: 'ok', failed: failedOf(await listAttempts(octokit, options, hookId, since)) };
      } catch (error) {
        return judge(error, options.token);
      }
    },
  };
}

async function findHook(
  octokit: Octokit,
  { repository, hookUrl }: HookReaderOptions,
): Promise<number | null> {
  for (let page = 1; page <= MAX_PAGES; page += 1) {
    const { data } = await octokit.rest.repos.listWebhooks({ ...repository, per_page: PER_PAGE, page });
    const hooks = hooksSchema.parse(data);
    const ours = hooks.find(({ config }) => isSameAddress(config.url, hookUrl));
    if (ours) return ours.id;
    if (hooks.length < PER_PAGE) return null;
  }
  return null;
}

function isSameAddress(one: string | undefined, other: string): boolean {
  return one !== undefined && URL.canParse(one) && new URL(one).href === new URL(other).href;
}

/** Newest first, as GitHub lists them. */
async function listAttempts(
  octokit: Octokit,
  { repository }: HookReaderOptions,
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

/** Only the cursor is taken from the link: where requests go is our own affair. */
function nextCursor(link: string | undefined): string | undefined {
  const [, address] = /<([^>]*)>;\s*rel="next"/.exec(link ?? '') ?? [];
  if (address === undefined || !URL.canParse(address)) return undefined;
  return new URL(address).searchParams.get('cursor') ?? undefined;
}

/** A redelivery is another try under the same id. */
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

function judge(error: unknown, token: string): FailedDeliveries {
  if (error instanceof z.ZodError)
    return { kind: 'unavailable', problem: "GitHub's answer has another form." };
  const answer = readAnswer(error, token);
  if (!answer) return { kind: 'unavailable', problem: `GitHub did not answer (${describeSilence(error)}).` };
  const { status, headers, message } = answer;
  const problem = `HTTP ${status}${message && `: ${message}`}`;
  const limited =
    headers['retry-after'] !== undefined ||
    headers['x-ratelimit-remaining'] === '0' ||
    /rate limit|abuse/i.test(message);
  // GitHub hides what a token may not see behind 404.
  const refused = status === 404 || (status === 403 && !limited);
  return { kind: refused ? 'not_allowed' : 'unavailable', problem };
}
