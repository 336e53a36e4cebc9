/** Tells the events of deployments: in order for each deployment and target, one at a time for each host, until taken or given up. */

import { describeError } from '../../errors.ts';
import type { SendOutcome } from '../../github/github-answer.ts';
import type { DeployRun } from '../../runs/run.ts';
import { blankReport, type Report, type RunStore } from '../../runs/run-store.ts';
import type { SetAside } from '../outbox/set-aside.ts';
import { createWriteLane, type WriteLane, type WriteLaneOptions } from '../outbox/write-lane.ts';
import { isWorn, type ReporterLog } from '../statuses/status-teller.ts';
import { type DeployEvent, type DeployFacts, deployEvents, eventId, eventText } from './deploy-events.ts';
import { type EventWebhookClient, failedTry, LONGEST_PAUSE_MS } from './event-webhook-client.ts';

export interface EventTellerOptions extends Pick<WriteLaneOptions, 'clock' | 'random'> {
  store: Pick<RunStore, 'unreported' | 'reports' | 'saveReport' | 'settleRun' | 'latestEvent' | 'steps'>;
  /** Null: nothing is told, as nothing could be signed. */
  client: EventWebhookClient | null;
  /** The operator's own address, told of every deployment, or null. */
  url: string | null;
  /** The page that an event links to: absolute, http or https. */
  runUrl(runId: string): string;
  log: ReporterLog;
  /** Called when a try has ended, as there may be more to tell now. */
  onEnd(): void;
}

export interface EventTeller {
  /**
   * Begins what is due. Resolves to the ms until there is more to do, or to null when nothing is left to tell; throws
   * what the store throws.
   */
  tellNext(aside: SetAside): Promise<number | null>;
  /** Ends the tries under way; they are made again after the next start. */
  stop(): Promise<void>;
}

interface Target {
  /** As it stands in the report, and so on the run's page: never an address, which may hold a secret. */
  name: 'operator' | 'callback';
  url: string;
}

/** What one deployment has to say next to one target. */
interface Owed {
  facts: DeployFacts;
  event: DeployEvent;
  target: Target;
  /** Of the address. */
  host: string;
  report: Report;
}

const REPORTER = 'event-webhook';
const READ_LIMIT = 1_000;
/** Tries under way, each to another host. */
const MAX_AT_ONCE = 16;
/** While tries are under way their end wakes us. */
const UNDER_WAY_MS = 60_000;
const UNSIGNED = 'The event was not sent: EVENT_WEBHOOK_SECRET is not set.';

export function createEventTeller(options: EventTellerOptions): EventTeller {
  const { store, client } = options;
  const stopping = new AbortController();
  const lanes = new Map<string, WriteLane>();
  /** By host. */
  const underWay = new Map<string, Promise<void>>();
  /** What came of tries, as long as the store cannot keep it: until then nothing more is sent. */
  const unkept = new Map<Report, DeployRun>();

  function laneOf(host: string): WriteLane {
    const { clock, random } = options;
    const pacing = { minIntervalMs: 0, limits: [], maxBackoffMs: LONGEST_PAUSE_MS };
    const lane = lanes.get(host) ?? createWriteLane({ clock, random, ...pacing });
    lanes.set(host, lane);
    return lane;
  }

  function begin(owed: Owed, lane: WriteLane, sender: EventWebhookClient): void {
    const { host } = owed;
    const sending = send(options, owed, sender, stopping.signal).then((outcome) => {
      underWay.delete(host);
      if (stopping.signal.aborted) return;
      lane.record(outcome);
      unkept.set(afterTry(options, owed, outcome, lane), owed.facts.run);
      options.onEnd();
    });
    underWay.set(host, sending);
  }

  return {
    async tellNext(aside) {
      for (const [report, run] of unkept) {
        await aside.guard(run, () => store.saveReport(report));
        unkept.delete(report);
      }
      const owed = await readOwed(options, aside);
      forgetOthers(lanes, owed, underWay);
      let waitMs: number | null = null;
      for (const next of owed) {
        if (client === null || underWay.has(next.host) || underWay.size >= MAX_AT_ONCE) continue;
        const lane = laneOf(next.host);
        const ms = lane.earliest({ promised: true, notBefore: next.report.notBefore }) - lane.now();
        if (ms <= 0) {
          begin(next, lane, client);
          aside.cameThrough();
        } else waitMs = Math.min(waitMs ?? ms, ms);
      }
      return underWay.size > 0 ? Math.min(waitMs ?? UNDER_WAY_MS, UNDER_WAY_MS) : waitMs;
    },
    async stop() {
      stopping.abort();
      await Promise.all(underWay.values());
    },
  };
}

/** A lane without anything waiting for it holds nothing worth keeping. */
function forgetOthers(
  lanes: Map<string, WriteLane>,
  owed: readonly Owed[],
  underWay: ReadonlyMap<string, unknown>,
): void {
  const hosts = new Set(owed.map(({ host }) => host));
  for (const host of lanes.keys()) if (!hosts.has(host) && !underWay.has(host)) lanes.delete(host);
}

/** What is left to tell: what was never tried first, so that news does not queue behind what nobody takes. */
async function readOwed(options: EventTellerOptions, aside: SetAside): Promise<Owed[]> {
  const owed: Owed[] = [];
  for (const run of await options.store.unreported(REPORTER, READ_LIMIT)) {
    if (run.kind !== 'deploy' || aside.has(run)) continue;
    owed.push(...((await aside.guard(run, () => owedOf(options, run))) ?? []));
  }
  return owed.toSorted((a, b) => a.report.notBefore - b.report.notBefore);
}

function targetsOf({ url }: EventTellerOptions, { input: { callbackUrl } }: DeployRun): Target[] {
  return [
    ...(url === null ? [] : [{ name: 'operator' as const, url }]),
    ...(callbackUrl === null || callbackUrl === url ? [] : [{ name: 'callback' as const, url: callbackUrl }]),
  ];
}

/** On the way a run that has nothing more to tell anybody is settled. */
async function owedOf(options: EventTellerOptions, run: DeployRun): Promise<Owed[]> {
  const { store, client } = options;
  const targets = targetsOf(options, run);
  // One that waits in the queue has nothing to tell.
  if (targets.length > 0 && run.startedAt === null && run.finishedAt === null) return [];
  const known = await store.reports(REPORTER, run.id);
  const reports = targets.map(
    ({ name }) => known.find(({ target }) => target === name) ?? blankReport(REPORTER, run.id, name),
  );
  if (client === null) {
    for (const report of reports)
      await store.saveReport({ ...report, notBefore: 0, problem: UNSIGNED, settled: true });
  }
  if (client === null || reports.every(({ settled }) => settled)) {
    await store.settleRun(REPORTER, run.id);
    return [];
  }
  const facts = await readFacts(store, run);
  const events = deployEvents(facts);
  return targets.flatMap((target, index) => {
    const report = reports[index];
    if (!report || report.settled) return [];
    const event = events[events.findIndex(({ type }) => type === report.told) + 1];
    return event ? [{ facts, event, target, report, host: hostOf(target) }] : [];
  });
}

async function readFacts(store: EventTellerOptions['store'], run: DeployRun): Promise<DeployFacts> {
  return {
    run,
    steps: await store.steps(run.id),
    awaiting: await store.latestEvent(run.id, 'run.awaiting_approval'),
    planned: await store.latestEvent(run.id, 'run.planned'),
    decided: await store.latestEvent(run.id, 'run.decided'),
  };
}

function hostOf({ url }: Target): string {
  return URL.parse(url)?.host ?? '';
}

/** Never throws: a defect here costs one event a try, and holds up nobody. */
async function send(
  { runUrl }: EventTellerOptions,
  { facts, event, target }: Owed,
  client: EventWebhookClient,
  signal: AbortSignal,
): Promise<SendOutcome> {
  const { id } = facts.run;
  try {
    return await client.send({
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

/** The report to be kept. `told` is the last event that is done with: taken, or given up. */
function afterTry({ log }: EventTellerOptions, owed: Owed, outcome: SendOutcome, lane: WriteLane): Report {
  const { report, event } = owed;
  const fields = { runId: report.runId, target: report.target, host: owed.host, event: event.type };
  const done = { ...report, told: event.type, failures: 0, notBefore: 0, settled: event.isLast };
  if (outcome.kind === 'ok') {
    log.info(fields, 'event sent');
    // That an earlier one was given up stays to be seen.
    return { ...done, problem: report.failures === 0 ? report.problem : null };
  }
  const { problem } = outcome;
  if (outcome.kind === 'refused') {
    log.warn({ ...fields, problem }, 'event is undeliverable; nothing more of this deployment is sent there');
    return { ...report, notBefore: 0, problem, settled: true };
  }
  const failures = report.failures + 1;
  if (isWorn(outcome, failures)) {
    log.warn({ ...fields, problem, failures }, 'event is undeliverable; it is not sent again');
    return { ...done, problem: `${event.type} was tried ${failures} times: ${problem}` };
  }
  // What the host asks for holds for all of its events; the growing wait is this event's own.
  const notBefore = lane.retryAt({ ...outcome, scope: 'target' }, failures);
  const nextTry = new Date(notBefore).toISOString();
  log.warn({ ...fields, problem, failures, nextTry }, 'event not sent yet');
  return { ...report, failures, problem, notBefore };
}
