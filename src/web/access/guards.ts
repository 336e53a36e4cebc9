/** Who may do what on the pages of runs, as middleware that stands before each route. */

import type { Context, MiddlewareHandler } from 'hono';
import { createMiddleware } from 'hono/factory';
import type { Role } from '../../config.ts';
import type { Run } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { askForCredentials, refuse } from '../doors/refusals.ts';
import { requestOrigin } from '../doors/request-origin.ts';
import type { Assets } from '../frame/assets.ts';
import { type Access, hasRole, type Identity } from './access.ts';

/** What a guarded handler finds in its context. `identity` is null for who came by a signed link. */
export interface RunPageEnv {
  Variables: { identity: Identity | null; run: Run };
}

export interface Guards {
  /** Anyone signed in. */
  signedIn: MiddlewareHandler<RunPageEnv>;
  /** Anyone signed in, or with the run's signed link; loads the run. */
  mayRead: MiddlewareHandler<RunPageEnv>;
  /** Operators, from a page of ours when by cookie. */
  operator: MiddlewareHandler<RunPageEnv>;
  /** The same, and loads the run. */
  mayOperate: MiddlewareHandler<RunPageEnv>;
  /** Admins, likewise, and loads the run. */
  mayApprove: MiddlewareHandler<RunPageEnv>;
}

export interface GuardsOptions {
  access: Access;
  assets: Assets;
  store: Pick<RunStore, 'run'>;
  publicUrl: string | null;
  /** The answer when there is no such run. */
  notFound?: (c: Context<RunPageEnv>) => Response | Promise<Response>;
}

export function createGuards({ access, assets, store, publicUrl, notFound }: GuardsOptions): Guards {
  const loadRun = createMiddleware<RunPageEnv>(async (c, next) => {
    const id = c.req.param('id') ?? '';
    const run = await store.run(id);
    if (!run) {
      if (notFound) return notFound(c);
      return refuse(c, { assets, identity: c.var.identity }, { status: 404, error: 'Run not found.' });
    }
    c.set('run', run);
    return next();
  });

  const signedIn = createMiddleware<RunPageEnv>(async (c, next) => {
    const identity = await access.identify(c);
    if (!identity) return askForCredentials(c);
    c.set('identity', identity);
    return next();
  });

  const mayRead = createMiddleware<RunPageEnv>(async (c, next) => {
    const identity = await access.identify(c);
    if (!identity && !access.opensRun(c, c.req.param('id') ?? '')) return askForCredentials(c);
    c.set('identity', identity);
    return loadRun(c, next);
  });

  /** Null for whoever has the role, and is then in the context. */
  async function refuseOthers(c: Context<RunPageEnv>, role: Role) {
    const identity = await access.identify(c);
    if (!identity) return askForCredentials(c);
    c.set('identity', identity);
    if (identity.credential === 'session' && requestOrigin(c, publicUrl) !== 'same') {
      return refuse(
        c,
        { assets, identity },
        { status: 403, error: 'The request did not come from our page.' },
      );
    }
    if (!hasRole(identity, role)) {
      return refuse(c, { assets, identity }, { status: 403, error: needsRole(role, identity) });
    }
    return null;
  }
  const operator = createMiddleware<RunPageEnv>(
    async (c, next) => (await refuseOthers(c, 'operator')) ?? next(),
  );
  const andRun = (role: Role) =>
    createMiddleware<RunPageEnv>(async (c, next) => (await refuseOthers(c, role)) ?? loadRun(c, next));

  return { signedIn, mayRead, operator, mayOperate: andRun('operator'), mayApprove: andRun('admin') };
}

function needsRole(role: Role, identity: Identity): string {
  return `This needs the role ${role}; ${identity.name} is ${identity.role}.`;
}
