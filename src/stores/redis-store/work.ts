/** What workers do: claim, renew and append, fenced by the token of their lease. */

import { randomUUID } from 'node:crypto';
import { StaleLeaseError } from '../../errors.ts';
import { RUN_KINDS, type Run, type RunKind, type RunRequest } from '../../runs/run.ts';
import { areLast, completed, supersededBy, uncovered, uncoveredBy } from '../../runs/run-decisions.ts';
import type { RunEventBody } from '../../runs/run-events.ts';
import type { Claim, Lease } from '../../runs/run-store.ts';
import { draftEvents, readBackground } from './append-events.ts';
import { UncertainOutcomeError } from './connection.ts';
import { openSteps } from './decisions.ts';
import { createDraft, type Draft, expectSame } from './draft.ts';
import { draftEnqueue } from './enqueue.ts';
import { type Room, untilCommitted } from './room.ts';
import { NEXT, RENEW } from './scripts.ts';
import {
  draftNearHome,
  fromQueueMember,
  machineOf,
  readStoredRun,
  readStoredRuns,
  type StoredRun,
  texts,
} from './stored-run.ts';

/** Where a write of ours would be found whose answer never came. */
interface Trace {
  runId: string;
  seq: number;
  operation: string;
}

interface ClaimOptions {
  owner: string;
  leaseMs: number;
  kinds?: readonly RunKind[];
  labels?: readonly string[] | undefined;
}

/** `tools` gives what this machine has; null: it takes deployments by any. */
export function createWork(room: Room, tools: () => Promise<readonly string[] | null>) {
  const { connection, keys, committer } = room;
  /** By the list of events: given a second time after a failure, it is not written a second time. */
  const uncertainAppends = new WeakMap<RunEventBody[], Trace[]>();
  const uncertainClaims = new Set<Trace>();
  /** Of runs leased to this process, as last written: they need not be read before the next write. */
  const known = new Map<string, StoredRun>();
  let claiming: Promise<unknown> = Promise.resolve();

  async function isThere({ runId, seq, operation }: Trace): Promise<boolean> {
    const found = await connection.call('XRANGE', keys.events(runId), `${seq}-0`, `${seq}-0`);
    return JSON.stringify(found).includes(operation);
  }

  /** One after the other: those of one process would only take the same run from each other. */
  function claim(options: ClaimOptions): Promise<Claim | null> {
    const claimed = claiming.then(() => claimNext(options));
    claiming = claimed.catch(() => undefined);
    return claimed;
  }

  async function claimNext(options: ClaimOptions): Promise<Claim | null> {
    for (const trace of uncertainClaims) {
      const kept = (await isThere(trace)) ? await adopt(trace.runId, options.owner) : null;
      uncertainClaims.delete(trace);
      if (kept) return kept;
    }
    return untilCommitted(async () => {
      const next = await nextQueued(options);
      if (next === null) return { done: null };
      if (next === 'gone') return false;
      const covered = next.run.coalesce ? await queuedCoalescing(next.run) : [];
      const chosen = covered.pop() ?? next;
      const trace = { runId: chosen.run.id, seq: chosen.seq, operation: randomUUID() };
      try {
        return await take(options, chosen, covered, trace.operation);
      } catch (error) {
        if (error instanceof UncertainOutcomeError) uncertainClaims.add(trace);
        throw error;
      }
    });
  }

  async function nextQueued(options: ClaimOptions): Promise<StoredRun | null | 'gone'> {
    const { kinds = RUN_KINDS, labels, owner } = options;
    const own = await tools();
    const wanted = [asSet(kinds), labels ? asSet(labels) : '', own ? asSet(own) : ''];
    const values = [keys.prefix, Date.now(), ...wanted, machineOf(owner)];
    const id = await connection.evaluate(NEXT, values);
    if (typeof id !== 'string') return null;
    const next = await readStoredRun(connection, keys, id);
    return next?.run.state === 'queued' ? next : 'gone';
  }

  /**
   * Around `next`, between those that do not coalesce: what was asked for between two pushes keeps its place, and what
   * waits for a time before it is not begun in the place of `next`.
   */
  async function queuedCoalescing(next: Run): Promise<StoredRun[]> {
    const members = texts(await connection.call('ZRANGE', keys.queue(next.concurrencyGroup), 0, -1))
      .map((member) => fromQueueMember(member ?? ''))
      .toSorted((left, right) => left.number - right.number);
    const at = members.findIndex(({ id }) => id === next.id);
    const start = members.findLastIndex(({ coalesce }, index) => index < at && !coalesce) + 1;
    const end = members.findIndex(({ coalesce }, index) => index > at && !coalesce);
    const ids = members.slice(start, end === -1 ? members.length : end).map(({ id }) => id);
    const stored = await readStoredRuns(connection, keys, ids);
    return stored.flatMap((one) => (one?.run.state === 'queued' ? [one] : []));
  }

  async function take(
    { owner, leaseMs }: ClaimOptions,
    chosen: StoredRun,
    covered: StoredRun[],
    operation: string,
  ): Promise<{ done: Claim } | false> {
    const draft = createDraft();
    const at = Date.now();
    const started: RunEventBody = { type: 'run.started', owner, attempt: chosen.run.attempt + 1 };
    const nothing = { steps: new Map(), ledger: new Map(), commentOwed: null };
    const { run, seq } = draftEvents(draft, keys, chosen, [started], nothing, { at, operation });
    for (const other of covered) {
      const events = [supersededBy(other.run, run.id)];
      const background = await readBackground(connection, keys, other.run, events);
      draftEvents(draft, keys, other, events, background, { at, operation });
    }
    draft.lease = { runId: run.id, owner, leaseMs };
    const committed = await committer.commit(draft);
    if (!committed) return false;
    const { token } = committed;
    known.set(run.id, { ...chosen, run, seq, owner, token: String(token) });
    return { done: { run, lease: { runId: run.id, owner, token }, covers: await coveredBy(run.id) } };
  }

  /** A claim whose answer was lost: nobody else works on it, as long as the lease is ours. */
  async function adopt(runId: string, owner: string): Promise<Claim | null> {
    const stored = await readStoredRun(connection, keys, runId);
    if (stored?.run.state !== 'running' || stored.owner !== owner || stored.token === null) return null;
    const lease = { runId, owner, token: Number(stored.token) };
    return { run: stored.run, lease, covers: await coveredBy(runId) };
  }

  /**
   * Also those covered by an earlier attempt, or before the run was put off, and those of a run that this one follows
   * because its commit is not on the branch.
   */
  async function coveredBy(id: string): Promise<Run[]> {
    const followed = [id];
    const covered: StoredRun[] = [];
    for (const next of followed) {
      const ids = texts(await connection.call('SMEMBERS', keys.covered(next))).map(String);
      for (const stored of await readStoredRuns(connection, keys, ids)) {
        if (stored?.run.reason === 'covered_by_newer') covered.push(stored);
        if (stored?.run.reason === 'not_on_branch') followed.push(stored.run.id);
      }
    }
    return covered.toSorted((left, right) => left.number - right.number).map(({ run }) => run);
  }

  async function renew({ runId, token }: Lease, leaseMs: number): Promise<void> {
    const values = [keys.run(runId), keys.leases, runId, token, leaseMs];
    if ((await connection.evaluate(RENEW, values)) !== 1) throw new StaleLeaseError(runId);
  }

  async function append(
    lease: Lease,
    events: RunEventBody[],
    followUp?: RunRequest,
    keptPlan?: string,
  ): Promise<void> {
    for (const trace of uncertainAppends.get(events) ?? []) if (await isThere(trace)) return;
    await untilCommitted(async () => {
      const stored = known.get(lease.runId) ?? (await readStoredRun(connection, keys, lease.runId));
      // Read anew the next time, unless this one is kept.
      const wasKnown = known.delete(lease.runId);
      if (stored?.run.state !== 'running' || stored.token !== String(lease.token)) {
        if (wasKnown) return false;
        throw new StaleLeaseError(lease.runId);
      }
      const trace = { runId: lease.runId, seq: stored.seq, operation: randomUUID() };
      try {
        return await tryAppend(stored, events, { followUp, keptPlan }, trace.operation);
      } catch (error) {
        if (error instanceof UncertainOutcomeError) {
          uncertainAppends.set(events, [...(uncertainAppends.get(events) ?? []), trace]);
        }
        throw error;
      }
    });
  }

  async function tryAppend(
    stored: StoredRun,
    events: RunEventBody[],
    { followUp, keptPlan }: { followUp: RunRequest | undefined; keptPlan: string | undefined },
    operation: string,
  ): Promise<{ done: undefined } | false> {
    const draft = createDraft();
    if (keptPlan !== undefined) draft.writes.push(['SET', keys.keptPlan(stored.run.id), keptPlan]);
    const { run } = stored;
    let toAppend = areLast(events) ? completed(run, events, await openSteps(room, run)) : events;
    if (followUp) {
      const next = await draftEnqueue(room, draft, followUp, Number.POSITIVE_INFINITY);
      toAppend = toAppend.map((event) =>
        event.type === 'run.finished' ? { ...event, coveredBy: next.run.id } : event,
      );
    }
    expectSame(draft, ['HGET', keys.run(stored.run.id), 'token'], stored.token);
    const background = await readBackground(connection, keys, stored.run, toAppend);
    const after = draftEvents(draft, keys, stored, toAppend, background, { at: Date.now(), operation });
    if (after.run.state === 'awaiting_approval' && canGoOnAnywhere(after.run, keptPlan)) {
      draftNearHome(draft, keys, after.run.id);
    }
    await draftUncovered(draft, toAppend, operation);
    const committed = await committer.commit(draft);
    if (!committed) return false;
    if (after.run.state === 'running') known.set(after.run.id, after);
    return { done: undefined };
  }

  async function draftUncovered(
    draft: Draft,
    events: readonly RunEventBody[],
    operation: string,
  ): Promise<void> {
    for (const { id, message } of uncoveredBy(events)) {
      const stored = await readStoredRun(connection, keys, id);
      const follows = stored ? uncovered(stored.run, message) : [];
      if (!stored || follows.length === 0) continue;
      const nothing = { steps: new Map(), ledger: new Map(), commentOwed: null };
      draftEvents(draft, keys, stored, follows, nothing, { at: Date.now(), operation });
    }
  }

  return { claim, renew, append };
}

/** Whether any machine that may take it can go on with a run that pauses. */
function canGoOnAnywhere(run: Run, keptPlan: string | undefined): boolean {
  // A plan of a pull request pauses before anything of it lies on a disk.
  if (run.kind !== 'deploy') return run.kind === 'plan';
  // The tool refuses a plan that another version of it made, as that on another PATH may be.
  return keptPlan !== undefined && run.input.toolVersion !== null;
}

/** For the script: names as the keys of an object. */
function asSet(names: readonly string[]): string {
  return JSON.stringify(Object.fromEntries(names.map((name) => [name, true])));
}
