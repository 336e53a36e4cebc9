/** A sync runs the tasks of the services that a commit changes. */

import { endedBadly, type SyncRun, type Trigger } from '../run.ts';
import { type PlaceInput, scopeOfInput } from '../sync/place.ts';
import type { Promotion, SyncInput } from '../sync/sync-input.ts';
import { meaningOf, retryOf } from '../sync/sync-intent.ts';
import { shortCommit } from '../texts/short-commit.ts';
import { type Kind, STATUS_STATES, type StatusWords } from './kind.ts';

const WAITING = 'Waiting for previous sync to complete';
const GIT_FAILED = 'Failed to update git repository';

/** GitHub's name for the environment of a repository that names none. */
const UNNAMED_ENVIRONMENT = 'production';
/** The ends of the contexts that the statuses of runs have. */
const KIND_NAMES: ReadonlySet<string> = new Set(['sync', 'preview', 'plan']);

const PLAIN: Omit<SyncInput, keyof PlaceInput | 'selection'> = {
  revision: null,
  before: null,
  force: false,
  dryRun: false,
  postponed: [],
  unpin: false,
  announced: [],
};

export type GivenSync = Pick<SyncInput, 'branch' | 'selection'> & Partial<SyncInput>;

/** A member that `given` leaves out is null, false or empty. */
export function syncInput(trigger: Trigger, given: GivenSync): SyncInput {
  const input = { ...PLAIN, ...given };
  return { ...input, intent: meaningOf({ trigger, input }).intent };
}

export const SYNC: Kind<'sync'> = {
  name: 'sync',
  plural: 'syncs',
  queued: WAITING,
  group: scopeOfInput,
  coalescing: {
    covers: (request) => meaningOf(request).coalesces,
    message: ({ promotion }) =>
      promotion ? 'A newer promotion takes its place.' : 'A newer push of the branch covers this one.',
  },
  reporters: ['commit-status', 'github-deployment', 'service-status', 'notification'],
  status: {
    context: (input) => contextOf('Sync', input),
    isPromise: true,
    of: (run, covering) => (run.input.dryRun ? null : statusOf(covering)),
  },
  services: {
    environment: ({ dryRun, environment = UNNAMED_ENVIRONMENT }) => (dryRun ? null : environment),
    // A service may have the name of a kind, and no service has a space in its name.
    context: (input, service) =>
      contextOf(KIND_NAMES.has(service.toLowerCase()) ? `service ${service}` : service, input),
  },
  // A run that ended before it had chosen services gets the same selection again.
  retry: (run, failed) => ({
    ...PLAIN,
    ...run.input,
    ...retryOf(run),
    // The admin let one run pass, and not those of the people who retry it.
    overrideHold: false,
    selection: failed.length > 0 ? { mode: 'services', services: failed } : run.input.selection,
    announced: failed,
  }),
  // A run that another one may cover makes its branch up to date, so that newer commits count as well.
  // A promotion waits itself, because nothing else was approved. If it failed, another run does the rest.
  afterHold: (run, services) =>
    run.input.promotion !== undefined || run.input.repeats
      ? restOf(run, services)
      : run.coalesce
        ? { ...run.input, revision: null, before: null, postponed: [], announced: services }
        : { ...run.input, selection: { mode: 'services', services }, announced: services },
  title: titleOf,
  ref: ({ branch }) => branch,
  options: ({ force, dryRun, overrideHold, promotion }) => [
    ...(promotion?.breakGlass ? ['break glass'] : []),
    ...(force ? ['force'] : []),
    ...(dryRun ? ['dry run'] : []),
    ...(overrideHold ? ['override hold'] : []),
  ],
  facts: ({ note, environment, promotion, rest }) => [
    environment === undefined ? null : { name: 'Environment', values: [environment] },
    promotion ? { name: 'Source environment', values: [promotion.from] } : null,
    rest ? { name: 'Rest of the run', values: [rest.of] } : null,
    note === undefined ? null : { name: 'Reason', values: [note] },
  ],
  json: ({ input: { environment, repository, promotion, rest, note } }) => ({
    ...(environment !== undefined && { environment, repository }),
    ...(promotion && { promotion: promotionJson(promotion), reason_given: note ?? null }),
    ...(rest && { rest_of: rest.of }),
  }),
  nextActions: {
    not_approved: 'Promote it again, and let somebody approve it.',
    rejected: 'Nothing was changed. Ask for it again if you still want it.',
    approval_expired: 'Nothing was changed: nobody approved in time. Ask for it again.',
  },
  hasWaves: true,
  approval: {
    thing: 'change with the digest',
    notAsked: 'The sync does not wait for an approval: it is',
  },
};

/** Returns the input of the run that does what was left out, or null if the run itself goes on. */
function restOf({ id, state, input }: SyncRun, services: string[]): SyncInput | null {
  if (!endedBadly(state)) return null;
  const { promotion, rest } = input;
  const shown = promotion?.services.filter(({ service }) => services.includes(service));
  const left = shown?.map(({ service }) => service) ?? services;
  if (left.length === 0) return null;
  return {
    ...input,
    selection: { mode: 'services', services: left },
    announced: left,
    rest: rest ?? { of: id, shown: promotion?.services ?? [] },
    ...(promotion && shown && { promotion: { ...promotion, services: shown } }),
  };
}

function promotionJson({ from, services, commits, breakGlass }: Promotion) {
  return { from, services, commits, break_glass: breakGlass };
}

/** What goes back or is promoted looks like that, and not like its commit. */
function titleOf(run: SyncRun): string | null {
  const { intent } = meaningOf(run);
  const { selection, revision, environment = '', promotion } = run.input;
  if (intent === 'back') {
    const what = selection.mode === 'services' ? selection.services.join(', ') : 'every service';
    return `Roll back ${what} to ${shortCommit(revision ?? '')}`;
  }
  if (promotion === undefined) return null;
  const how = promotion.breakGlass ? 'Break-glass promotion' : 'Promotion';
  return `${how} from ${promotion.from} to ${environment}: ${run.subject ?? shortCommit(revision ?? '')}`;
}

/** One environment of a repository never hides the status of another. */
function contextOf(name: string, { environment }: PlaceInput): string {
  return `IaC Runner / ${name}${environment === undefined ? '' : ` (${environment})`}`;
}

/** Everybody sees when somebody passed the rules of promotions, and why. */
function statusOf(run: SyncRun): StatusWords {
  const words = usualStatus(run);
  const { promotion, note = '' } = run.input;
  if (!promotion?.breakGlass) return words;
  return { ...words, description: `Break-glass by ${run.trigger.actor}: ${words.description} (${note})` };
}

function usualStatus(run: SyncRun): StatusWords {
  const { state, message, notBefore, chosen } = run;
  // A run that was covered or off the branch shows its own message. Any other had nothing left to do.
  if (state === 'superseded')
    return run.coveredBy !== null || run.reason === 'not_on_branch'
      ? { state: 'error', description: message }
      : { state: 'success', description: 'No services required sync' };
  // A run that waits until some time says until when in its message.
  const waits = (state === 'queued' && notBefore === 0) || (state === 'running' && chosen === 0);
  const problem = state === 'errored' ? gitFailure(run) : null;
  return { state: STATUS_STATES[state], description: waits ? WAITING : (problem ?? message) };
}

/** Returns null unless the run failed before it had its commit. */
function gitFailure({ reason, chosen }: SyncRun): string | null {
  switch (reason) {
    case 'git_unavailable':
    case 'unknown_revision':
      return GIT_FAILED;
    case 'workspace_unavailable':
      return `${GIT_FAILED}: the workspace cannot be used`;
    case 'disk_full':
      return chosen === 0 ? `${GIT_FAILED}: the disk is full` : null;
    default:
      return null;
  }
}
