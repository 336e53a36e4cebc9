/** Derives the commit statuses of the services that a run has chosen. */

import { createHash } from 'node:crypto';
import type { StatusWords } from '../../runs/kinds/kind.ts';
import { kindOf } from '../../runs/kinds/kinds.ts';
import type { Report } from '../../runs/report.ts';
import { isFinal, type Run, type Step, type StepState } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { isLongOver } from '../outbox/unreported-runs.ts';
import { cleanDescription, cleanLine } from './commit-status.ts';
import type { StatusesOfRun, StatusKind } from './owed-statuses.ts';

const REPORTER = 'service-status';
/** GitHub refuses longer contexts, and does not publish this limit: https://github.com/runatlantis/atlantis/issues/2506 */
const MAX_CONTEXT = 255;

const WAITS: StatusWords = { state: 'pending', description: 'Waiting for its turn' };
const SYNCS: StatusWords = { state: 'pending', description: 'Syncing...' };

/** These steps show that nothing is done about a service. */
const NOT_CHOSEN: ReadonlySet<StepState> = new Set(['skipped', 'removed']);

/** The status of each chosen service, under its own name. */
export function serviceStatuses(store: Pick<RunStore, 'reports' | 'steps'>, now: () => number): StatusKind {
  return {
    reporter: REPORTER,
    async statusesOf(run, _known, to) {
      const isOn = to.serviceStatuses;
      // A run that has a status to end was asked this when the status was sent.
      if (isOn && kindOf(run).services?.environment(run.input) == null) return null;
      const found: StatusesOfRun = {
        source: run,
        isFinal: isFinal(run.state),
        // The reserved part of the limits is for the statuses of runs.
        isPromised: false,
        isOwn: true,
        keepsSpace: run.trigger.source === 'webhook' ? null : 'commit',
        reports: [],
        shown: [],
      };
      // A run that has not started has chosen nothing.
      if (run.startedAt === null) return isOn ? found : null;
      const reports = await store.reports(REPORTER, run.id);
      if (reports.length === 0 && isLongOver(run, now())) return null;
      // A status that was sent must end, although the repository does not ask for these statuses any more.
      if (!isOn && !reports.some(isOpen)) return null;
      const steps = await store.steps(run.id);
      const shown = shownStatuses(run, steps, reports).filter(
        ({ target }) => isOn || reports.some((report) => report.target === target),
      );
      return { ...found, reports, shown };
    },
  };
}

function shownStatuses(run: Run, steps: readonly Step[], reports: readonly Report[]): StatusesOfRun['shown'] {
  const { revision, chosen } = run;
  const services = chosen > 0 ? steps.filter(({ state }) => !NOT_CHOSEN.has(state)) : [];
  const targets = new Set(services.flatMap(({ id }) => (revision === null ? [] : `${revision} ${id}`)));
  // A status that was sent must end even if the run has moved on. An outcome at an earlier commit stays as it is.
  for (const { target, sent } of reports) {
    if (target.startsWith(`${revision} `) || !isOutcome(sent)) targets.add(target);
  }
  return [...targets].map((target) => {
    const [sha = '', service = ''] = target.split(/ (.*)/s);
    const step = steps.find(({ id }) => id === service);
    const { state, description } = wordsOf(run, step);
    const context = boundContext(kindOf(run).services?.context(run.input, service) ?? service);
    const status = { context, state, description: cleanDescription(description) };
    return { target, sha, status, anchor: step ? `#step-${step.position}` : '' };
  });
}

function isOpen({ settled, sent }: Report): boolean {
  return !settled && !isOutcome(sent);
}

function isOutcome(sent: string | null): boolean {
  return sent !== null && !sent.startsWith('pending: ');
}

/** A step that was cut off, or whose run waits again, is worked on once more. */
function wordsOf({ state, message }: Run, step: Step | undefined): StatusWords {
  const open: StatusWords = isFinal(state) ? { state: 'error', description: message } : WAITS;
  if (!step) return open;
  switch (step.state) {
    case 'pending':
      return open;
    case 'running':
      return state === 'running' ? SYNCS : open;
    case 'cancelled':
      return isFinal(state) ? { state: 'error', description: step.message } : open;
    case 'failed':
    case 'timed_out':
    case 'blocked':
      return { state: 'failure', description: step.message };
    case 'succeeded':
    case 'skipped':
    case 'removed':
      return { state: 'success', description: step.message };
  }
}

/** Returns a context that GitHub takes. One that had to be changed gets a digest, so that no two are the same. */
export function boundContext(context: string): string {
  const clean = cleanLine(context);
  if (clean === context && context.length <= MAX_CONTEXT) return context;
  const digest = createHash('sha256').update(context).digest('hex').slice(0, 8);
  const most = MAX_CONTEXT - digest.length - 2;
  if (clean.length <= most) return `${clean} ${digest}`;
  // The end names the environment.
  return `${clean.slice(0, most - 80)}… ${digest}${clean.slice(-80)}`;
}
