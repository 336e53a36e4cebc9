/** What one can do with services: take one back, unpin it, sync some. Each is a run in the name of the caller. */

import type { Context } from 'hono';
import { z } from 'zod';
import { RequestError } from '../../errors.ts';
import { parseJson } from '../../parse-json.ts';
import { describeIssues } from '../../triggers/request-problems.ts';
import type { RollbackApi } from '../../triggers/sync/rollback-api.ts';
import type { StartSync } from '../../triggers/sync/start-sync.ts';
import { hasRole, type RunPageEnv } from '../access/access.ts';
import { callerOf, type PageOptions } from '../access/guards.ts';
import { refuse } from '../doors/refusals.ts';
import { readForm, readJson } from '../frame/read-body.ts';
import { runPath } from '../runs/run-words.ts';

export interface ServiceActionsOptions extends Pick<PageOptions, 'runUrl' | 'assets'> {
  rollBack: RollbackApi;
  startSync: StartSync;
}

/** The id of a service has slashes, which the address may also have in encoded form. */
export async function rollBack(c: Context<RunPageEnv>, options: ServiceActionsOptions) {
  const identity = callerOf(c);
  const service = c.req.param('id') ?? '';
  const caller = { name: identity.name, mayOverride: hasRole(identity, 'admin') };
  const form = await readForm(c);
  const body = form ? { ...Object.fromEntries(form), ...placeOf(c) } : await readJson(c);
  const take = async () => ({ run: await options.rollBack(service, body, caller), services: [service] });
  return answerStarted(c, options, form !== null, take);
}

/** The service is synced as of the branch head, and pushes reach it again. The body may be left out. */
export async function unpin(c: Context<RunPageEnv>, options: ServiceActionsOptions) {
  const services = [c.req.param('id') ?? ''];
  const form = await readForm(c);
  const text = form ? '' : await c.req.text();
  const place = form || text === '' ? placeOf(c) : readPlace(text);
  const { name: actor } = callerOf(c);
  return answerStarted(c, options, form !== null, () =>
    options.startSync({ ...place, services, unpin: true }, { actor }),
  );
}

/** A form names one service. */
export async function sync(c: Context<RunPageEnv>, options: ServiceActionsOptions) {
  const form = await readForm(c);
  const { services = '', ...rest } = form
    ? (Object.fromEntries(form) as Partial<Record<string, string>>)
    : {};
  const body = form ? { ...rest, services: [services] } : await readJson(c);
  c.set('target', namedIn(body));
  const { name: actor } = callerOf(c);
  return answerStarted(c, options, form !== null, () => options.startSync(body, { actor }));
}

const namedSchema = z.object({ all: z.boolean().optional(), services: z.array(z.string()).optional() });

/** The services for the audit log. They are not checked yet. */
function namedIn(body: unknown): string {
  const { data } = namedSchema.safeParse(body);
  return data?.all ? 'all services' : (data?.services?.join(', ') ?? '');
}

const placeSchema = z.strictObject({ environment: z.string().optional(), repository: z.string().optional() });

function readPlace(text: string): z.output<typeof placeSchema> {
  const result = placeSchema.safeParse(parseJson(text));
  if (result.success) return result.data;
  throw new RequestError(400, describeIssues(result.error.issues));
}

/** A form of a page leads to the page of the run, or says on a page what is wrong. */
async function answerStarted(
  c: Context<RunPageEnv>,
  { runUrl, assets }: ServiceActionsOptions,
  isForm: boolean,
  start: () => ReturnType<StartSync>,
) {
  try {
    const { run, services } = await start();
    if (isForm) return c.redirect(runPath(run.id), 303);
    return c.json({ status: 'accepted', services, run_id: run.id, url: runUrl(run.id) });
  } catch (error) {
    if (!isForm || !(error instanceof RequestError)) throw error;
    const { status } = error;
    if (status !== 400 && status !== 403 && status !== 409) throw error;
    return refuse(c, assets, status, error.message);
  }
}

/** The environment and the repository that the address names. */
export function placeOf(c: Context<RunPageEnv>): { environment?: string; repository?: string } {
  const { environment, repository } = c.req.query();
  return {
    ...(environment !== undefined && { environment }),
    ...(repository !== undefined && { repository }),
  };
}
