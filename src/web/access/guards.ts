/** Decides who may do what on the pages, as middleware that stands before each route. */

import type { Context, MiddlewareHandler } from 'hono';
import { createMiddleware } from 'hono/factory';
import type { Role } from '../../config.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { askForCredentials, refuse } from '../doors/refusals.ts';
import { requestOrigin } from '../doors/request-origin.ts';
import type { Assets } from '../frame/assets.ts';
import { type Access, hasRole, type Identity, type RunPageEnv } from './access.ts';

/** The options that the routes of all pages share. */
export interface PageOptions {
  access: Access;
  assets: Assets;
  /** The address that browsers use, or null when it is only known from their requests. */
  publicUrl: string | null;
  /** Milliseconds since the epoch. */
  clock(): number;
  /**
   * The page of a commit on the site of the repository, or null when that is not known. Without the name of a repository,
   * it is the first one.
   */
  commitUrl(sha: string, repository?: string): string | null;
  /** The address of the page of a run, without a key. */
  runUrl(runId: string): string;
}

export interface Guards {
  /** Lets callers through who are signed in. */
  signedIn: MiddlewareHandler<RunPageEnv>;
  /** Lets callers through who are signed in or have the run's signed link, and loads the run. */
  mayRead: MiddlewareHandler<RunPageEnv>;
  /** Lets everybody through who is signed in. If they use a session, the request must come from one of our pages. */
  viewer: MiddlewareHandler<RunPageEnv>;
  /** Lets operators through. If they use a session, the request must come from one of our pages. */
  operator: MiddlewareHandler<RunPageEnv>;
  /** Does the same as `operator`, but for admins. */
  admin: MiddlewareHandler<RunPageEnv>;
  /** Does the same as `operator`, and loads the run. */
  mayOperate: MiddlewareHandler<RunPageEnv>;
  /** Lets everybody through who is signed in. Like `mayOperate`, it guards sessions, and loads the run. */
  mayAct: MiddlewareHandler<RunPageEnv>;
  /** Does the same as `mayOperate`, but for admins. */
  mayApprove: MiddlewareHandler<RunPageEnv>;
}

export interface GuardsOptions extends Pick<PageOptions, 'access' | 'assets' | 'publicUrl'> {
  store: Pick<RunStore, 'run'>;
  /** The answer when there is no such run. */
  notFound?: (c: Context<RunPageEnv>) => Response | Promise<Response>;
}

export function createGuards({ access, assets, store, publicUrl, notFound }: GuardsOptions): Guards {
  const loadRun = createMiddleware<RunPageEnv>(async (c, next) => {
    const run = await store.run(c.req.param('id') ?? '');
    if (!run) return notFound ? notFound(c) : refuse(c, assets, 404, 'Run not found.');
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

  const only = createOnly({ access, assets, publicUrl });
  return {
    signedIn,
    mayRead,
    viewer: only('viewer', pass),
    operator: only('operator', pass),
    admin: only('admin', pass),
    mayOperate: only('operator', loadRun),
    mayAct: only('viewer', loadRun),
    mayApprove: only('admin', loadRun),
  };
}

const pass: MiddlewareHandler<RunPageEnv> = async (_c, next) => next();

type OnlyOptions = Pick<GuardsOptions, 'access' | 'assets' | 'publicUrl'>;

/** The returned function makes a guard that lets callers with the role through, and notes what they do. */
function createOnly(options: OnlyOptions) {
  const refuseOthers = createRefusal(options);
  return (role: Role, then: MiddlewareHandler<RunPageEnv>) =>
    createMiddleware<RunPageEnv>(async (c, next) => {
      const refusal = await refuseOthers(c, role);
      const { identity } = c.var;
      const perform = async () => {
        const answer = refusal ?? (await then(c, next));
        // After `next` the answer is in the context.
        return answer instanceof Response ? answer : undefined;
      };
      // Nobody is named by a request without credentials, and reading is no action.
      return identity && !isRead(c) ? options.access.audited(c, identity, perform) : perform();
    });
}

function isRead(c: Context): boolean {
  return c.req.method === 'GET' || c.req.method === 'HEAD';
}

/** The returned function answers callers without the role. For others it stores the caller in the context and returns null. */
function createRefusal({ access, assets, publicUrl }: OnlyOptions) {
  return async (c: Context<RunPageEnv>, role: Role) => {
    const identity = await access.identify(c);
    if (!identity) return askForCredentials(c);
    c.set('identity', identity);
    // Reading changes nothing, and people follow links from everywhere.
    const isByCookie = identity.credential === 'session' && !isRead(c);
    if (isByCookie && requestOrigin(c, publicUrl) !== 'same') {
      return refuse(c, assets, 403, 'The request did not come from a page of this server.');
    }
    if (hasRole(identity, role)) return null;
    return refuse(
      c,
      assets,
      403,
      `This needs the role ${role}, but ${identity.name} has the role ${identity.role}.`,
    );
  };
}

/** The caller of a route that a guard stands before. */
export function callerOf(c: Context<RunPageEnv>): Identity {
  const { identity } = c.var;
  if (!identity) throw new Error('A route that needs a caller has no guard.');
  return identity;
}
