/** The repository's webhook as GitHub's API shows it, with the attempted deliveries and their results. */

import { type ApiAnswer, refusal } from './github-statuses.ts';
import type { Delivery } from './webhook-sender.ts';

const HOOK_ID = 292430182;
/** GitHub's default for `per_page`. */
const DEFAULT_PAGE = 30;

export interface HookBook {
  /** Gives the repository a webhook with this address, which the token may read from now on. */
  point(url: string): void;
  list(): ApiAnswer;
  deliveries(hookId: string, query: URLSearchParams): ApiAnswer;
}

export function createHookBook(options: {
  apiUrl: () => string;
  fullName: string;
  /** All attempts so far, oldest first. */
  attempts: readonly Delivery[];
}): HookBook {
  const { attempts } = options;
  let address: string | null = null;
  const base = () => `${options.apiUrl()}/repos/${options.fullName}/hooks/${HOOK_ID}`;

  return {
    point(url) {
      address = url;
    },
    list() {
      // GitHub answers like this when the token has no permission, because it hides the webhook then.
      if (address === null) return refusal(404, 'Not Found');
      const time = '2026-01-05T08:00:00Z';
      const hook = {
        type: 'Repository',
        id: HOOK_ID,
        name: 'web',
        active: true,
        events: ['push'],
        config: { url: address, content_type: 'json', insecure_ssl: '0', secret: '********' },
        updated_at: time,
        created_at: time,
        url: base(),
        test_url: `${base()}/test`,
        ping_url: `${base()}/pings`,
        deliveries_url: `${base()}/deliveries`,
        last_response: { code: 200, status: 'active', message: 'OK' },
      };
      return { status: 200, body: [hook] };
    },
    deliveries(hookId, query) {
      if (address === null || hookId !== String(HOOK_ID)) return refusal(404, 'Not Found');
      const size = Number(query.get('per_page') ?? DEFAULT_PAGE);
      const start = Number(/^v1_(\d+)$/.exec(query.get('cursor') ?? 'v1_0')?.[1]);
      const newestFirst = attempts.map(show).toReversed();
      const end = start + size;
      const next = `<${base()}/deliveries?per_page=${size}&cursor=v1_${end}>; rel="next"`;
      return {
        status: 200,
        body: newestFirst.slice(start, end),
        headers: end < newestFirst.length ? { link: next } : {},
      };
    },
  };
}

function show(attempt: Delivery, index: number, all: readonly Delivery[]): Record<string, unknown> {
  const { deliveryId, event, at, status, durationMs } = attempt;
  return {
    id: index + 1,
    guid: deliveryId,
    delivered_at: new Date(at).toISOString(),
    redelivery: all.slice(0, index).some((earlier) => earlier.deliveryId === deliveryId),
    duration: durationMs / 1_000,
    status: status === null ? 'failed to connect to host' : status < 300 ? 'OK' : 'Invalid HTTP Response',
    status_code: status ?? 0,
    event,
    action: null,
    installation_id: null,
    repository_id: 186853002,
    throttled_at: null,
  };
}
