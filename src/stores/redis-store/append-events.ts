/** Adds events of a run to a draft, with everything that follows from them: run, steps, ledger. */

import { projectLedger } from '../../runs/project-ledger.ts';
import { isFinal, type Run, type Step } from '../../runs/run.ts';
import { projectRun, projectStep, type RunEventBody, sequenceWidth } from '../../runs/run-events.ts';
import { type LedgerEntry, REPORTERS_OF } from '../../runs/run-store.ts';
import type { Connection, Reply } from './connection.ts';
import { type Draft, expectSame } from './draft.ts';
import { type Keys, padded } from './keys.ts';
import { draftUpdate, type StoredRun, texts } from './stored-run.ts';

/** What events are projected on: read before, checked at the commit. */
export interface Background {
  steps: Map<string, Step>;
  /** By scope and service; with the text that was found, null when there was none. */
  ledger: Map<string, { entry: LedgerEntry | undefined; scope: string; service: string; found: Reply }>;
  /** Whether the comment has still to be told that what is sealed is needed for; null when it has not. */
  commentOwed: Reply;
}

/** What the comment of a plan is written with is kept until that is told. */
const NEEDS_SEALED = 'plan-comment';

export async function readBackground(
  connection: Connection,
  keys: Keys,
  run: Run,
  events: readonly RunEventBody[],
): Promise<Background> {
  const runId = run.id;
  const steps = unique(
    events.flatMap((event) => ('step' in event && event.type !== 'step.log' ? event.step : [])),
  );
  const facts = events.flatMap((event) => ('ledger' in event && event.ledger ? [event.ledger] : []));
  const commands = facts.map(({ scope, service }) => ['HGET', keys.ledger(scope), service]);
  if (steps.length > 0) commands.push(['HMGET', keys.steps(runId), ...steps]);
  const ends = needsComment(run) && events.some(({ type }) => type === 'run.finished');
  if (ends) commands.push(commentOwed(keys, runId));
  const replies = await connection.all(commands);
  const owed = ends ? (replies.pop() ?? null) : null;
  const background: Background = { steps: new Map(), ledger: new Map(), commentOwed: owed };
  const found = steps.length > 0 ? texts(replies.pop()) : [];
  for (const [index, text] of found.entries()) {
    if (text !== null) background.steps.set(steps[index] ?? '', JSON.parse(text));
  }
  for (const [index, { scope, service }] of facts.entries()) {
    const text = replies[index] ?? null;
    const entry = typeof text === 'string' ? (JSON.parse(text) as LedgerEntry) : undefined;
    background.ledger.set(placeOf(scope, service), { entry, scope, service, found: text });
  }
  return background;
}

export function needsComment({ kind }: Run): boolean {
  return REPORTERS_OF[kind].includes(NEEDS_SEALED);
}

export function commentOwed(keys: Keys, runId: string): string[] {
  return ['ZSCORE', keys.unreported(NEEDS_SEALED), runId];
}

function unique(names: string[]): string[] {
  return [...new Set(names)];
}

function placeOf(scope: string, service: string): string {
  return JSON.stringify([scope, service]);
}

/** Returns the run after the events. `operation` names the call, so that its traces can be found later. */
export function draftEvents(
  draft: Draft,
  keys: Keys,
  stored: StoredRun,
  events: readonly RunEventBody[],
  background: Background,
  { at, operation }: { at: number; operation: string },
): StoredRun {
  const { steps, ledger } = background;
  let { run, seq } = stored;
  const changedSteps = new Set<string>();
  const changedFacts = new Set<string>();
  for (const event of events) {
    draftEvent(draft, keys, run.id, { event, seq, at, operation });
    seq += sequenceWidth(event);
    run = projectRun(run, event, at);
    draftBranch(draft, keys, run, event);
    if ('step' in event && event.type !== 'step.log') {
      const step = projectStep(steps.get(event.step), event, at);
      if (step) steps.set(step.id, step);
      changedSteps.add(event.step);
    }
    if ('ledger' in event && event.ledger) {
      const place = placeOf(event.ledger.scope, event.ledger.service);
      const fact = ledger.get(place);
      if (fact) fact.entry = projectLedger(fact.entry, event, { runId: run.id, at }) ?? fact.entry;
      changedFacts.add(place);
    }
  }
  for (const id of changedSteps) {
    const step = steps.get(id);
    if (step) draft.writes.push(['HSET', keys.steps(run.id), id, JSON.stringify(step)]);
  }
  for (const place of changedFacts) draftFact(draft, keys, ledger.get(place));
  const after = { ...stored, run, seq };
  draftUpdate(draft, keys, stored, after);
  if (isFinal(run.state)) {
    // What is sealed goes with the run's end, or later, once the comment is told that it is needed for.
    if (needsComment(run)) expectSame(draft, commentOwed(keys, run.id), background.commentOwed);
    draft.writes.push(['DEL', keys.keptPlan(run.id)]);
    if (background.commentOwed === null) draft.writes.push(['DEL', keys.sealed(run.id)]);
  }
  draft.changed.push(run.id);
  return after;
}

/** Only the event itself. */
export function draftEvent(
  { writes }: Draft,
  keys: Keys,
  runId: string,
  { event, seq, at, operation }: { event: RunEventBody; seq: number; at: number; operation: string },
): void {
  const { type, ...data } = event;
  const fields = ['type', type, 'at', at, 'data', JSON.stringify(data), 'operation', operation];
  writes.push(['XADD', keys.events(runId), `${seq}-0`, ...fields]);
  if (type !== 'step.log') writes.push(['ZADD', keys.index(runId), 0, `${type}:${padded(seq)}`]);
}

function draftFact(
  draft: Draft,
  keys: Keys,
  fact: NonNullable<ReturnType<Background['ledger']['get']>> | undefined,
) {
  if (!fact?.entry) return;
  const { scope, service, found, entry } = fact;
  expectSame(draft, ['HGET', keys.ledger(scope), service], found);
  draft.writes.push(
    ['HSET', keys.ledger(scope), service, JSON.stringify(entry)],
    ['SADD', keys.scopes, scope],
  );
}

function draftBranch({ writes }: Draft, keys: Keys, { id }: Run, event: RunEventBody): void {
  switch (event.type) {
    case 'run.baseline':
      writes.push(['HSETNX', keys.scope(event.scope), 'baseline', event.commit]);
      break;
    case 'run.examined': {
      const { commit } = event;
      writes.push(['HSET', keys.scope(event.scope), 'examined', JSON.stringify({ commit, runId: id })]);
      break;
    }
    case 'run.rules':
      writes.push(
        event.text === null
          ? ['HDEL', keys.scope(event.scope), 'rules']
          : ['HSET', keys.scope(event.scope), 'rules', event.text],
      );
      break;
    case 'run.pinned':
      writes.push(['SADD', keys.scopes, event.scope]);
      for (const service of event.services) {
        const pin = JSON.stringify({ commit: event.commit, runId: id });
        const pins = keys.pins(event.scope);
        writes.push(event.commit === null ? ['HDEL', pins, service] : ['HSET', pins, service, pin]);
      }
  }
}
