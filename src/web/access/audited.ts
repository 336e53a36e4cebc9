/** Notes in the audit log what a caller does: before it is done, and how it ended. */

import type { Context } from 'hono';
import type { Role } from '../../config.ts';
import { RequestError, StoreUnavailableError } from '../../errors.ts';
import type { RunStore } from '../../runs/run-store.ts';

export type AuditStore = Pick<RunStore, 'recordAction' | 'finishAction'>;

type Answer = Response | undefined;

/** The variables by which a handler says better than the address what it does, and what it acts on. */
export interface AuditVariables {
  action?: string;
  target?: string;
}

/** The longest text in an entry. Callers choose some of them. */
const MAX_CHARACTERS = 300;

/** Performs what the request asks for. Throws what the store throws if the entry cannot be written; nothing was done then. */
export async function audited(
  { store, address }: { store: AuditStore; address: string },
  c: Context,
  { name, role }: { name: string; role: Role },
  perform: () => Promise<Answer>,
): Promise<Answer> {
  const named = actionOf(c.req.method, c.req.path);
  const action = saidBy(c, 'action') ?? named.action;
  const target = saidBy(c, 'target') ?? named.target;
  const id = await store.recordAction({ actor: name, role, action, target, address, result: null });
  // The action is done, so its answer counts. An entry without an end says that it was not noted.
  const finish = (status: number) =>
    store
      .finishAction(id, {
        result: resultOf(status),
        action: saidBy(c, 'action') ?? action,
        target: saidBy(c, 'target') ?? target,
      })
      .catch(() => undefined);
  try {
    const answer = await perform();
    await finish((answer ?? c.res).status);
    return answer;
  } catch (error) {
    await finish(statusOf(error));
    throw error;
  }
}

function saidBy(c: Context, name: keyof AuditVariables): string | null {
  const said: unknown = c.get(name);
  return typeof said === 'string' ? said.slice(0, MAX_CHARACTERS) : null;
}

/** The status of the answer that the error becomes. */
function statusOf(error: unknown): number {
  if (error instanceof RequestError) return error.status;
  return error instanceof StoreUnavailableError ? 503 : 500;
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
  if (method === 'DELETE') return { action: 'release', target: rest.join('/').slice(0, MAX_CHARACTERS) };
  if (rest.length === 0) return { action: COLLECTIONS[collection] ?? collection, target: '' };
  return { action: rest.at(-1) ?? '', target: rest.slice(0, -1).join('/').slice(0, MAX_CHARACTERS) };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
