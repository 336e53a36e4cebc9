/** Sends the events of deployments to the operator's address and to those that the deployments name. */

import { describeError } from '../../errors.ts';
import type { SendOutcome } from '../../github/github-answer.ts';
import { blankReport, type Report } from '../../runs/report.ts';
import type { DeployRun } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { MINUTE } from '../../units.ts';
import { afterFailure } from '../outbox/outbox.ts';
import { type SendingLoop, type SendingLoopOptions, startSendingLoop } from '../outbox/sending-loop.ts';
import type { SetAside } from '../outbox/set-aside.ts';
import { createWriteLane, type WriteLane, type WriteLaneOptions } from '../outbox/write-lane.ts';
import { type DeployEvent, type DeployFacts, deployEvents, eventId, eventText } from './deploy-events.ts';
import { failedTry, LONGEST_PAUSE_MS, type SendEvent } from './event-webhook-client.ts';

export interface EventSenderOptions
  extends Omit<SendingLoopOptions, 'senders'>,
    Pick<WriteLaneOptions, 'random'> {
  store: Pick<
    RunStore,
    'watch' | 'unreported' | 'reports' | 'saveReport' | 'settleRun' | 'latestEvent' | 'steps'
  >;
  /** Null if there is no secret to sign with. Then nothing is sent, and all deployments are settled. */
  sendEvent: SendEvent | null;
  /** The operator's own address, which gets the events of every deployment, or null. */
  url: string | null;
  /** The page that an event links to: absolute, http or https. */
  runUrl(runId: string): string;
}

interface Target {
  /** The name in the report and on the run's page. The address is not shown, because it may hold a secret. */
  name: 'operator' | 'callback';
  url: string;
}

/** The next event of one deployment for one target. */
interface OwedEvent {
  facts: DeployFacts;
  event: DeployEvent;
  target: Target;
  /** The host of the address. */
  host: string;
  report: Report;
}

const REPORTER = 'event-webhook';
const READ_LIMIT = 1_000;
/** The most tries at the same time, each to another host. */
const MAX_AT_ONCE = 16;
/** The end of a try wakes the loop, so the loop need not look before. */
const UNDER_WAY_MS = MINUTE;
const UNSIGNED = 'The event was not sent: EVENT_WEBHOOK_SECRET is not set.';

/** Starts the loop. Without `sendEvent` it must run too, so that no deployment of today is reported later. */
export function startEventSender(options: EventSenderOptions): Pick<SendingLoop, 'stop' | 'idle'> {
  const tries = createTries(options, () => loop.wake());
  const sendNext = (aside: SetAside) => sendDue(options, tries, aside);
  const loop = startSendingLoop({ ...options, senders: [{ what: 'events of deployments', sendNext }] });
  return {
    idle: loop.idle,
    async stop() {
      await Promise.all([loop.stop(), tries.stop()]);
    },
  };
}

/** The tries under way, at most one for each host. */
type Tries = ReturnType<typeof createTries>;

function createTries(options: EventSenderOptions, onEnd: () => void) {
  const stopping = new AbortController();
  const lanes = new Map<string, WriteLane>();
  const underWay = new Map<string, Promise<void>>();
  /** The results that the store does not have yet. Nothing more is sent until it has them. */
  const unkept = new Map<Report, DeployRun>();

  function laneOf(host: string): WriteLane {
    const pacing = { minIntervalMs: 0, limits: [], maxBackoffMs: LONGEST_PAUSE_MS };
    const lane = lanes.get(host) ?? createWriteLane({ ...options, ...pacing });
    lanes.set(host, lane);
    return lane;
  }

  async function makeTry(owed: OwedEvent): Promise<void> {
    const lane = laneOf(owed.host);
    const outcome = await send(options, owed, stopping.signal);
    underWay.delete(owed.host);
    if (stopping.signal.aborted) return;
    lane.record(outcome);
    unkept.set(afterTry(options, owed, outcome, lane), owed.facts.run);
    onEnd();
  }

  return {
    unkept,
    /** The time, in ms, until a try may start. Null while the host, or all of them, are busy. */
    waitMs({ host, report: { notBefore } }: OwedEvent): number | null {
      if (underWay.has(host) || underWay.size >= MAX_AT_ONCE) return null;
      const lane = laneOf(host);
      return lane.earliest({ promised: true, notBefore }) - lane.now();
    },
    start: (owed: OwedEvent) => underWay.set(owed.host, makeTry(owed)),
    isUnderWay: () => underWay.size > 0,
    /** Forgets the lanes of other hosts. A lane that nothing waits for holds nothing worth keeping. */
    keepOnly(hosts: ReadonlySet<string>): void {
      for (const host of lanes.keys()) if (!hosts.has(host) && !underWay.has(host)) lanes.delete(host);
    },
    /** Ends the tries under way. They are made again after the next start. */
    async stop(): Promise<void> {
      stopping.abort();
      await Promise.all(underWay.values());
    },
  };
}

async function sendDue(options: EventSenderOptions, tries: Tries, aside: SetAside): Promise<number | null> {
  for (const [report, run] of tries.unkept) {
    await aside.guard(run, () => options.store.saveReport(report));
    tries.unkept.delete(report);
  }
  const allOwed = await readOwed(options, aside);
  tries.keepOnly(new Set(allOwed.map(({ host }) => host)));
  const waits: number[] = [];
  for (const owed of allOwed) {
    const ms = tries.waitMs(owed);
    if (ms === null) continue;
    if (ms > 0) {
      waits.push(ms);
      continue;
    }
    tries.start(owed);
    aside.cameThrough();
  }
  if (tries.isUnderWay()) waits.push(UNDER_WAY_MS);
  return waits.length === 0 ? null : Math.min(...waits);
}

/** Events that were never tried come first, so that they do not wait behind those that nobody takes. */
async function readOwed(options: EventSenderOptions, aside: SetAside): Promise<OwedEvent[]> {
  const owed: OwedEvent[] = [];
  for (const run of await options.store.unreported(REPORTER, READ_LIMIT)) {
    if (run.kind !== 'deploy' || aside.has(run)) continue;
    owed.push(...((await aside.guard(run, () => owedEvents(options, run))) ?? []));
  }
  return owed.toSorted((a, b) => a.report.notBefore - b.report.notBefore);
}

function targetsOf({ url }: EventSenderOptions, { input: { callbackUrl } }: DeployRun): Target[] {
  return [
    ...(url === null ? [] : [{ name: 'operator' as const, url }]),
    ...(callbackUrl === null || callbackUrl === url ? [] : [{ name: 'callback' as const, url: callbackUrl }]),
  ];
}

/** Returns the next event for each target. Settles a run without any. */
async function owedEvents(options: EventSenderOptions, run: DeployRun): Promise<OwedEvent[]> {
  const { store, sendEvent } = options;
  const targets = targetsOf(options, run);
  // A run that waits in the queue has no events yet.
  if (targets.length > 0 && run.startedAt === null && run.finishedAt === null) return [];
  const known = await store.reports(REPORTER, run.id);
  const reports = targets.map(
    ({ name }) => known.find(({ target }) => target === name) ?? blankReport(REPORTER, run.id, name),
  );
  if (sendEvent === null) {
    for (const report of reports)
      await store.saveReport({ ...report, notBefore: 0, problem: UNSIGNED, settled: true });
  }
  if (sendEvent === null || reports.every(({ settled }) => settled)) {
    await store.settleRun(REPORTER, run.id);
    return [];
  }
  const facts = await readFacts(store, run);
  const events = deployEvents(facts);
  return targets.flatMap((target, index) => {
    const report = reports[index];
    if (!report || report.settled) return [];
    const event = events[events.findIndex(({ type }) => type === report.sent) + 1];
    const host = URL.parse(target.url)?.host ?? '';
    return event ? [{ facts, event, target, report, host }] : [];
  });
}

async function readFacts(store: EventSenderOptions['store'], run: DeployRun): Promise<DeployFacts> {
  return {
    run,
    steps: await store.steps(run.id),
    awaiting: await store.latestEvent(run.id, 'run.awaiting_approval'),
    planned: await store.latestEvent(run.id, 'run.planned'),
    decided: await store.latestEvent(run.id, 'run.decided'),
  };
}

/** Never throws: a defect here costs one event a try, and delays nothing else. */
async function send(
  { runUrl, sendEvent }: EventSenderOptions,
  { facts, event, target }: OwedEvent,
  signal: AbortSignal,
): Promise<SendOutcome> {
  const { id } = facts.run;
  try {
    if (sendEvent === null) return { kind: 'refused', problem: UNSIGNED };
    return await sendEvent({
      url: target.url,
      isOperators: target.name === 'operator',
      id: eventId(id, target.name, event.type),
      body: eventText(facts, event, runUrl(id)),
      signal,
    });
  } catch (error) {
    return failedTry(`The event could not be made (${describeError(error)}).`);
  }
}

/** Returns the report to keep. Its `sent` is the last event that was sent or given up. */
function afterTry(
  { log }: EventSenderOptions,
  { report: before, event, host }: OwedEvent,
  outcome: SendOutcome,
  lane: WriteLane,
): Report {
  const fields = { runId: before.runId, target: before.target, host, event: event.type };
  const done = { ...before, sent: event.type, failures: 0, notBefore: 0, settled: event.isLast };
  if (outcome.kind === 'ok') {
    log.info(fields, 'event sent');
    // The problem of an earlier event that was given up stays in the report.
    return { ...done, problem: before.failures === 0 ? before.problem : null };
  }
  const { problem } = outcome;
  if (outcome.kind === 'refused') {
    log.warn({ ...fields, problem }, 'event is undeliverable; nothing more of this deployment is sent there');
    return { ...before, notBefore: 0, problem, settled: true };
  }
  const failures = before.failures + 1;
  // A wait that the host asked for holds for all of its events. The wait that grows holds for this event only.
  const { isGivenUp, report } = afterFailure(lane, before, { ...outcome, scope: 'target' }, failures);
  if (isGivenUp) {
    log.warn({ ...fields, problem, failures }, 'event is undeliverable; it is not sent again');
    return { ...done, problem: `${event.type} was tried ${failures} times: ${problem}` };
  }
  const nextTry = new Date(report.notBefore).toISOString();
  log.warn({ ...fields, problem, failures, nextTry }, 'event not sent yet');
  return report;
}
