/** Promotes what one environment holds to the next one, in the name of somebody. */

import { hash } from 'node:crypto';
import type { Logger } from 'pino';
import { z } from 'zod';
import { RequestError } from '../../errors.ts';
import { enqueueSync, type SyncRequest } from '../../runs/enqueue.ts';
import type { ApprovalRequest, Run } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { type Place, placeInput, scopeOf } from '../../runs/sync/place.ts';
import { boundTo, type Proposal } from '../../runs/sync/promotion.ts';
import type { Promotion, Selection, SyncInput } from '../../runs/sync/sync-input.ts';
import { shortCommit } from '../../runs/texts/short-commit.ts';
import { environmentName, findPlace, type NamedPlace } from '../place.ts';
import { type MaskReason, reasonSchema } from '../reason.ts';
import { describeIssues } from '../request-problems.ts';
import { requireRunnable } from '../service-ids.ts';
import type { PromotePlace, Promoting } from './promote-place.ts';

export interface PromoteOptions {
  store: Pick<RunStore, 'enqueue'>;
  places: readonly PromotePlace[];
  now(): number;
  log: Pick<Logger, 'warn'>;
  mask: MaskReason;
}

interface PromoteCaller {
  name: string;
  isAdmin: boolean;
}

export interface PromoteApi {
  /** Throws RequestError with what is wrong with the request. */
  start(body: unknown, caller: PromoteCaller): Promise<{ run: Run; proposal: Proposal }>;
  /** Returns what a promotion would change now. Throws RequestError. */
  preview(named: Wanted): Promise<{ place: Place; proposal: Proposal }>;
  /**
   * Asks again for services that an earlier run of a place that promotes did not bring up to date. Resolves to null for
   * any other run. Throws RequestError.
   */
  again(run: Run, failed: readonly string[], actor: string): Promise<Run | null>;
}

interface Wanted extends NamedPlace {
  revision?: string | undefined;
  services?: readonly string[] | undefined;
}

const MAX_SERVICES = 1_000;
const NOT_PROMOTABLE = 'not_promotable';

const promoteSchema = z.strictObject({
  environment: z.string(),
  repository: z.string().optional(),
  revision: z
    .string()
    .regex(/^[0-9a-f]{40}$/, 'must be a full commit id of 40 hexadecimal digits')
    .optional(),
  services: z.array(z.string()).min(1, 'must name a service, or be left out').max(MAX_SERVICES).optional(),
  reason: reasonSchema.optional(),
  break_glass: z.boolean().optional(),
});

export function createPromoteApi(options: PromoteOptions): PromoteApi {
  const { places, mask } = options;
  return {
    async start(body, caller) {
      const parsed = promoteSchema.safeParse(body);
      if (!parsed.success) throw new RequestError(400, describeIssues(parsed.error.issues));
      const { reason, break_glass: breakGlass = false, ...wanted } = parsed.data;
      if (breakGlass) requireBreakGlass(caller, reason);
      const found = await look(places, wanted, breakGlass);
      const trigger = { source: 'promote_api', actor: caller.name } as const;
      const note = reason === undefined ? undefined : mask(reason);
      const asked = await askFor(options, found, { trigger, breakGlass, note });
      if (breakGlass) sayBroken(options, asked.run, caller, note);
      return asked;
    },
    async preview(wanted) {
      const { open, proposal } = await look(places, wanted, true);
      return { place: open.place, proposal };
    },
    again: (run, failed, actor) => again(options, run, failed, actor),
  };
}

async function again(
  options: PromoteOptions,
  run: Run,
  failed: readonly string[],
  actor: string,
): Promise<Run | null> {
  const input = syncInputOf(run);
  const open = options.places.find(({ place }) => scopeOf(place) === run.concurrencyGroup);
  // What is taken back needs nobody who holds it.
  if (input === null || !open?.promoting || input.intent === 'back' || input.dryRun) return null;
  const { environment, repository, revision, note, selection } = input;
  const services = failed.length > 0 ? [...failed] : namedIn(selection);
  const wanted = { environment, repository, revision: revision ?? undefined, services };
  const found = await look(options.places, wanted, false);
  const trigger = { source: 'retry', actor, retryOf: run.id } as const;
  return (await askFor(options, found, { trigger, breakGlass: false, note })).run;
}

function syncInputOf({ input }: Run): SyncInput | null {
  return 'selection' in input ? input : null;
}

/** Returns undefined for a promotion of all services. */
function namedIn(selection: Selection): string[] | undefined {
  return selection.mode === 'services' ? selection.services : undefined;
}

function sayBroken(
  { log }: Pick<PromoteOptions, 'log'>,
  { id, input }: Run,
  { name }: PromoteCaller,
  reason: string | undefined,
): void {
  const environment = 'environment' in input ? input.environment : undefined;
  log.warn(
    { run_id: id, environment, actor: name, reason },
    'somebody broke the glass: no rule of promotions counts',
  );
}

function requireBreakGlass({ name, isAdmin }: PromoteCaller, reason: string | undefined): void {
  if (!isAdmin) throw new RequestError(403, `break_glass needs the role admin; ${name} has a lower one`);
  if (reason === undefined) throw new RequestError(400, 'reason: break_glass needs one');
}

interface Found {
  open: PromotePlace & { promoting: Promoting };
  /** Null: all services. */
  services: readonly string[] | null;
  proposal: Proposal;
}

/** Throws RequestError if there is nothing that may be promoted. `isLenient` lets commits pass that are not held. */
async function look(places: readonly PromotePlace[], wanted: Wanted, isLenient: boolean): Promise<Found> {
  const open = promotingPlace(places, wanted);
  const services = wanted.services === undefined ? null : [...new Set(wanted.services)].sort();
  if (services !== null) requireRunnable(services, await open.services(services));
  const proposal = await proposalOf(open, wanted.revision, services);
  if (!isLenient) requirePromotable(open, proposal);
  return { open, services, proposal };
}

function promotingPlace(places: readonly PromotePlace[], named: NamedPlace): Found['open'] {
  const open = findPlace(named, places);
  const { place, promoting } = open;
  if (promoting !== null) return { ...open, promoting };
  const others = places.filter((other) => other.promoting !== null);
  const there = others.map((other) => environmentName(other.place)).join(', ') || 'no environment';
  throw new RequestError(
    400,
    `${environmentName(place)} follows ${place.branch} by itself; promotions are for ${there}`,
  );
}

async function proposalOf(
  { place, promoting, isOnBranch }: Found['open'],
  revision: string | undefined,
  services: readonly string[] | null,
): Promise<Proposal> {
  const to = environmentName(place);
  if (revision === undefined) {
    const newest = await promoting.proposeNewest(services);
    if (newest !== null) return newest;
    throw notPromotable(`${promoting.from} holds no commit completely that ${to} could take`);
  }
  if (await isOnBranch(revision)) return promoting.propose(revision, services);
  throw notPromotable(`The commit ${revision} is not on ${place.branch}`);
}

/** Throws RequestError 409 if the other environment does not hold the commit, or if the target has a newer one. */
function requirePromotable({ place, promoting }: Found['open'], proposal: Proposal): void {
  const { revision, unheld, newer } = proposal;
  if (newer !== null) {
    throw notPromotable(
      `${environmentName(place)} has a newer commit, ${shortCommit(newer)}; take services back with a rollback`,
    );
  }
  if (unheld.length === 0) return;
  const because = unheld.map((one) => `${one.service} (${one.because})`).join(', ');
  throw notPromotable(`${promoting.from} does not hold ${shortCommit(revision)} of ${because}`);
}

/** The request is right, but nothing may be promoted. */
export function notPromotable(message: string): RequestError {
  return new RequestError(409, message, { code: NOT_PROMOTABLE });
}

interface Asking extends Pick<SyncRequest, 'trigger' | 'dedupeKey'> {
  breakGlass: boolean;
  note?: string | undefined;
}

/** Stores the run of a promotion that was looked at. */
export async function askFor(
  { store, now }: Pick<PromoteOptions, 'store' | 'now'>,
  { open: { place, promoting }, services, proposal }: Found,
  { breakGlass, note, ...asked }: Asking,
): Promise<{ run: Run; proposal: Proposal }> {
  const { revision, from, commits } = proposal;
  const promotion: Promotion = { from, services: proposal.services, commits, breakGlass };
  const ids = proposal.services.map(({ service }) => service);
  const needsApproval = promoting.approval !== 'none' && !breakGlass && ids.length > 0;
  const { run } = await enqueueSync(store, {
    ...asked,
    // A promotion that changes nothing takes the place of no other.
    covers: ids.length > 0,
    ...(needsApproval && { approval: approvalOf(promoting, boundTo(revision, promotion), now()) }),
    input: {
      ...placeInput(place),
      intent: 'promote',
      revision,
      selection: services === null ? { mode: 'changed' } : { mode: 'services', services: ids },
      announced: ids,
      promotion,
      ...(note !== undefined && { note }),
    },
  });
  return { run, proposal };
}

export function approvalOf(
  { approval, approvalTimeoutMs }: Promoting,
  /** What it is for, as a text. */
  bound: string,
  now: number,
): ApprovalRequest {
  const who = approval === 'other' ? 'somebody else' : 'somebody';
  const subject = hash('sha256', bound);
  return { subject, expiresAt: now + approvalTimeoutMs, message: `Waiting for ${who} to approve it` };
}
