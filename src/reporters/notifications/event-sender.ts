/** Sends the events of runs to addresses, each at least once and in order, and keeps the result of each try. */

import { describeError } from '../../errors.ts';
import type { SendOutcome } from '../../github/github-answer.ts';
import { blankReport, type Report } from '../../runs/report.ts';
import type { Run } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { MINUTE } from '../../units.ts';
import { afterFailure } from '../outbox/outbox.ts';
import { type SendingLoop, type SendingLoopOptions, startSendingLoop } from '../outbox/sending-loop.ts';
import type { SetAside } from '../outbox/set-aside.ts';
import { createWriteLane, type WriteLane, type WriteLaneOptions } from '../outbox/write-lane.ts';
import type { EventSource, EventTarget, OutgoingEvent } from './event-source.ts';
import { failedTry, LONGEST_PAUSE_MS, type SendEvent } from './event-webhook-client.ts';

export interface EventSenderOptions
  extends Omit<SendingLoopOptions, 'senders'>,
    Pick<WriteLaneOptions, 'random'> {
  store: Pick<RunStore, 'watch' | 'unreported' | 'reports' | 'saveReport' | 'settleRun'>;
  source: EventSource;
}

/** The next event of one run for one address. */
interface OwedEvent {
  run: Run;
  event: OutgoingEvent;
  /** No event will follow this one. */
  isLast: boolean;
  target: EventTarget;
  sendEvent: SendEvent;
  /** The host of the address. */
  host: string;
  report: Report;
}

const READ_LIMIT = 1_000;
/** An event that an address has refused this often, which takes more than an hour, does not keep later ones waiting. */
const BLOCKING_FAILURES = 10;
/** The most tries at the same time, each to another host. */
const MAX_AT_ONCE = 16;
/** The end of a try wakes the loop, so the loop need not look before. */
const UNDER_WAY_MS = MINUTE;

/** Starts the loop. It must run also where nothing is sent, so that no run of today is reported later. */
export function startEventSender(options: EventSenderOptions): Pick<SendingLoop, 'stop' | 'idle'> {
  const tries = createTries(options, () => loop.wake());
  const sendNext = (aside: SetAside) => sendDue(options, tries, aside);
  const loop = startSendingLoop({ ...options, senders: [{ what: options.source.what, sendNext }] });
  return {
    idle: loop.idle,
    async stop() {
      await Promise.all([loop.stop(), tries.stop()]);
    },
  };
}

function createTries(options: EventSenderOptions, onEnd: () => void) {
  const stopping = new AbortController();
  const lanes = new Map<string, WriteLane>();
  const underWay = new Map<string, Promise<void>>();
  /** The results that the store does not have yet. Nothing more is sent until it has them. */
  const unkept = new Map<Report, Run>();

  function laneOf(host: string): WriteLane {
    const pacing = { minIntervalMs: 0, limits: [], maxBackoffMs: LONGEST_PAUSE_MS };
    const lane = lanes.get(host) ?? createWriteLane({ ...options, ...pacing });
    lanes.set(host, lane);
    return lane;
  }

  async function makeTry(owed: OwedEvent): Promise<void> {
    const lane = laneOf(owed.host);
    const outcome = await send(owed, stopping.signal);
    underWay.delete(owed.host);
    if (stopping.signal.aborted) return;
    lane.record(outcome);
    unkept.set(afterTry(options, owed, outcome, lane), owed.run);
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

/** The tries under way, at most one for each host. */
type Tries = ReturnType<typeof createTries>;

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
  for (const run of await options.store.unreported(options.source.reporter, READ_LIMIT)) {
    if (aside.has(run)) continue;
    owed.push(...((await aside.guard(run, () => owedEvents(options, run))) ?? []));
  }
  const due = options.source.isInOrder ? firstOfEach(owed) : owed;
  return due.toSorted((a, b) => a.report.notBefore - b.report.notBefore);
}

/** Leaves out what has to wait for an earlier event of the same address. The runs are in order. */
function firstOfEach(owed: readonly OwedEvent[]): OwedEvent[] {
  const waiting = new Set<string>();
  return owed.filter(({ target: { name }, report: { failures } }) => {
    const isFirst = !waiting.has(name);
    if (failures < BLOCKING_FAILURES) waiting.add(name);
    return isFirst;
  });
}

/** Returns the next event for each address. Settles a run without any. */
async function owedEvents({ store, source }: EventSenderOptions, run: Run): Promise<OwedEvent[]> {
  const targets = await source.targetsOf(run);
  if (targets === null) return [];
  const known = targets.length === 0 ? [] : await store.reports(source.reporter, run.id);
  const owed: OwedEvent[] = [];
  let isOver = true;
  for (const target of targets) {
    const { name, send, events } = target;
    const report = known.find((one) => one.target === name) ?? blankReport(source.reporter, run.id, name);
    if (report.settled) continue;
    if (typeof send !== 'function') {
      await store.saveReport({ ...report, notBefore: 0, problem: send.problem, settled: true });
      continue;
    }
    const index = events.findIndex(({ type }) => type === report.sent) + 1;
    const event = events[index];
    isOver &&= target.isOver && !event;
    const host = URL.parse(target.url)?.host ?? '';
    const isLast = target.isOver && index === events.length - 1;
    if (event) owed.push({ run, event, isLast, target, sendEvent: send, report, host });
  }
  if (isOver) await store.settleRun(source.reporter, run.id);
  return owed;
}

/** Never throws: a defect here costs one event a try, and delays nothing else. */
async function send({ event, target, sendEvent }: OwedEvent, signal: AbortSignal): Promise<SendOutcome> {
  const { url, isOperators } = target;
  try {
    return await sendEvent({ url, isOperators, id: event.id, body: event.body(), signal });
  } catch (error) {
    return failedTry(`The event could not be made (${describeError(error)}).`);
  }
}

/** Returns the report to keep. Its `sent` is the last event that was sent or given up. */
function afterTry(
  { log }: EventSenderOptions,
  { report: before, event, isLast, host }: OwedEvent,
  outcome: SendOutcome,
  lane: WriteLane,
): Report {
  const fields = { runId: before.runId, target: before.target, host, event: event.type };
  const done = { ...before, sent: event.type, failures: 0, notBefore: 0, settled: isLast };
  if (outcome.kind === 'ok') {
    log.info(fields, 'event sent');
    // The problem of an earlier event that was given up stays in the report.
    return { ...done, problem: before.failures === 0 ? before.problem : null };
  }
  const { problem } = outcome;
  if (outcome.kind === 'refused') {
    log.warn({ ...fields, problem }, 'event is undeliverable; nothing more of this run is sent there');
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
