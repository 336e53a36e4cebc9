/** Keeps the part of a deployment's events that its status shows, for deployments that somebody watches right now. */

import { setImmediate as turn } from 'node:timers/promises';
import { NOT_STARTED, type Progress, projectProgress } from '../../runs/deployments/deploy-progress.ts';
import type { PlanSummary } from '../../runs/deployments/deployment.ts';
import type { RunEvent } from '../../runs/run-events.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { MEBIBYTE, MINUTE } from '../../units.ts';
import { EVENTS_PER_READ, lastSequence } from '../logs/run-log.ts';

const LOGGED_STEPS = ['init', 'plan', 'apply'] as const;
type LoggedStep = (typeof LOGGED_STEPS)[number];

/** Long texts are kept as JSON, without the quotes, because clients ask for them twice a second. */
export interface DeployHistory {
  /** The sequence number of the last event that is included. */
  through: number;
  progress: Progress;
  /** Each change of the progress, with the sequence number of its event. */
  changes: { seq: number; progress: Progress }[];
  logs: Record<LoggedStep, string>;
  plan: string;
  summary: PlanSummary | null;
  outputs: string;
  approved: { by: string; at: number } | null;
  approvalExpiresAt: number | null;
  endedAt: number | null;
}

export interface DeployHistories {
  /** Resolves to the history up to the newest event. It is shared: read it at once and do not change it. */
  read(runId: string): Promise<DeployHistory>;
  /** Resolves to what `render` makes from the newest history; this text is kept until the next event. */
  render(runId: string, render: (history: DeployHistory) => string): Promise<string>;
}

export interface DeployHistoriesOptions {
  store: Pick<RunStore, 'events'>;
  /** The limit for all histories together; the latest one is kept even if it is larger. Default 64 Mi. */
  maxCharacters?: number;
  /** After this time without a request all histories are forgotten. Default a minute. */
  idleMs?: number;
}

const MAX_CHARACTERS = 64 * MEBIBYTE;
const MAX_LOG_CHARACTERS = 16 * MEBIBYTE;
const IDLE_MS = MINUTE;
/** The size of an entry without its texts, roughly. */
const ENTRY_CHARACTERS = 4_096;
const CUT = jsonText("… the rest is in the event stream and on the run's page\n");

interface Entry {
  history: DeployHistory;
  rendered: { through: number; text: string } | null;
  /** Ends when the latest reading has ended. */
  reading: Promise<void>;
}

export function createDeployHistories(options: DeployHistoriesOptions): DeployHistories {
  const { store, maxCharacters = MAX_CHARACTERS, idleMs = IDLE_MS } = options;
  /** The history that was read longest ago stands first. */
  const entries = new Map<string, Entry>();
  let idle: NodeJS.Timeout | undefined;

  function find(runId: string): Entry {
    clearTimeout(idle);
    idle = setTimeout(() => entries.clear(), idleMs).unref();
    const entry = entries.get(runId) ?? {
      history: emptyHistory(),
      rendered: null,
      reading: Promise.resolve(),
    };
    entries.delete(runId);
    entries.set(runId, entry);
    return entry;
  }

  function forgetOthers(): void {
    let total = 0;
    for (const [runId, entry] of [...entries].toReversed()) {
      total += sizeOf(entry);
      if (total > maxCharacters && total > sizeOf(entry)) entries.delete(runId);
    }
  }

  async function advance(runId: string): Promise<Entry> {
    const entry = find(runId);
    // Readings wait for each other, or an event would be added twice.
    entry.reading = entry.reading.then(() => readOn(store, runId, entry.history));
    try {
      await entry.reading;
    } catch (error) {
      if (entries.get(runId) === entry) entries.delete(runId);
      throw error;
    }
    forgetOthers();
    return entry;
  }

  return {
    read: async (runId) => (await advance(runId)).history,
    async render(runId, render) {
      const entry = await advance(runId);
      const { through } = entry.history;
      if (entry.rendered?.through !== through) entry.rendered = { through, text: render(entry.history) };
      return entry.rendered.text;
    },
  };
}

function emptyHistory(): DeployHistory {
  return {
    through: 0,
    progress: NOT_STARTED,
    changes: [],
    logs: { init: '', plan: '', apply: '' },
    plan: '',
    summary: null,
    outputs: '',
    approved: null,
    approvalExpiresAt: null,
    endedAt: null,
  };
}

function sizeOf({ history: { logs, plan, outputs }, rendered }: Entry): number {
  const texts = [...Object.values(logs), plan, outputs, rendered?.text ?? ''];
  return texts.reduce((total, text) => total + text.length, ENTRY_CHARACTERS);
}

async function readOn(store: Pick<RunStore, 'events'>, runId: string, history: DeployHistory): Promise<void> {
  for (;;) {
    const events = await store.events(runId, { after: history.through, limit: EVENTS_PER_READ });
    for (const event of events) add(history, event);
    if (events.length === 0) return;
    // Reading a long log must not hold up other requests.
    await turn();
  }
}

function add(history: DeployHistory, event: RunEvent): void {
  const after = history.through;
  history.through = Math.max(after, lastSequence(event));
  const progress = projectProgress(history.progress, event);
  if (progress !== history.progress) history.changes.push({ seq: event.seq, progress });
  history.progress = progress;
  switch (event.type) {
    case 'step.log':
      log(history, event.step, `${event.lines.slice(Math.max(0, after - event.seq + 1)).join('\n')}\n`);
      return;
    case 'step.started':
      if (isLogged(event.step) && history.logs[event.step] !== '')
        log(history, event.step, 'Started again\n');
      return;
    case 'run.planned':
      history.plan = jsonText(event.text);
      history.summary = event.summary;
      return;
    case 'run.outputs':
      history.outputs = jsonText(outputsText(event.outputs));
      return;
    case 'run.awaiting_approval':
      history.approvalExpiresAt = event.expiresAt;
      return;
    case 'run.decided':
      history.approvalExpiresAt = null;
      if (event.decision === 'approved') history.approved = { by: event.by, at: event.at };
      return;
    case 'run.finished':
      history.approvalExpiresAt = null;
      history.endedAt = event.at;
  }
}

function isLogged(step: string): step is LoggedStep {
  return LOGGED_STEPS.some((known) => known === step);
}

function log(history: DeployHistory, step: string, text: string): void {
  if (!isLogged(step) || history.logs[step].length > MAX_LOG_CHARACTERS) return;
  history.logs[step] += jsonText(text);
  if (history.logs[step].length > MAX_LOG_CHARACTERS) history.logs[step] += CUT;
}

/** The outputs as `output -json` prints them, without sensitive values. */
function outputsText(outputs: Extract<RunEvent, { type: 'run.outputs' }>['outputs']): string {
  const shown = Object.entries(outputs).map(([name, { sensitive, type, value }]) => [
    name,
    { sensitive, type, value: sensitive ? '(sensitive value)' : value },
  ]);
  return JSON.stringify(Object.fromEntries(shown), null, 2);
}

function jsonText(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}
