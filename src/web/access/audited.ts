/** Notes in the audit log what a caller does: before it is done, and how it ended. */

import type { Context } from 'hono';
import type { Role } from '../../config.ts';
import type { RunStore } from '../../runs/run-store.ts';

export type AuditStore = Pick<RunStore, 'recordAction' | 'finishAction'>;

type Answer = Response | undefined;

/**
 * Performs what the request asks for. Throws what the store throws if the entry cannot be written; nothing was done then.
 * A handler that knows better than the address what it acted on sets the variable `target`.
 */
export async function audited(
  { store, address }: { store: AuditStore; address: string },
  c: Context,
  { name, role }: { name: string; role: Role },
  perform: () => Promise<Answer>,
): Promise<Answer> {
  const { action, target } = actionOf(c.req.method, c.req.path);
  const id = await store.recordAction({ actor: name, role, action, target, address, result: null });
  const answer = await perform();
  const { status } = answer ?? c.res;
  // The action is done, so its answer counts. An entry without an end says that it was not noted.
  await store
    .finishAction(id, { result: resultOf(status), target: better(c) ?? target })
    .catch(() => undefined);
  return answer;
}

/** What a handler found that it acted on. */
function better(c: Context): string | null {
  const target: unknown = c.get('target');
  return typeof target === 'string' ? target : null;
}

function resultOf(status: number): string {
  if (status < 400) return 'done';
  return status < 500 ? `refused (${status})` : `failed (${status})`;
}

/** The actions whose addresses end with the thing itself. */
const COLLECTIONS: Readonly<Record<string, string>> = {
  deploy: 'deploy',
  holds: 'hold',
  login: 'sign_in',
  logout: 'sign_out',
  promote: 'promote',
  sync: 'sync',
};

/** Names what a request does: `POST /runs/r1/retry` is `retry` on `r1`. */
function actionOf(method: string, path: string): { action: string; target: string } {
  const [collection = '', ...rest] = path
    .split('/')
    .filter((part) => part !== '')
    .map(decoded);
  if (method === 'DELETE') return { action: 'release', target: rest.join('/') };
  if (rest.length === 0) return { action: COLLECTIONS[collection] ?? collection, target: '' };
  return { action: rest.at(-1) ?? '', target: rest.slice(0, -1).join('/').slice(0, 300) };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
