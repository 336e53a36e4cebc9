/** Everything that differs by the kind of a run. Each kind has a file beside this one. */

import type { DeployInput } from '../deployments/deployment.ts';
import type { ReporterName } from '../report.ts';
import type { Run, RunInputs, RunKind, RunState, Trigger } from '../run.ts';
import type { RunReason } from '../run-reasons.ts';

export interface StatusWords {
  state: 'pending' | 'success' | 'failure' | 'error';
  description: string;
}

export interface CommitStatus extends StatusWords {
  /** The name by which GitHub keeps the latest of several. */
  context: string;
}

/** The status of a run, unless its kind says otherwise. */
export const STATUS_STATES: Record<RunState, StatusWords['state']> = {
  queued: 'pending',
  running: 'pending',
  awaiting_approval: 'pending',
  succeeded: 'success',
  failed: 'failure',
  timed_out: 'failure',
  errored: 'error',
  cancelled: 'error',
  superseded: 'success',
};

/** A line at the head of a run's page. */
export interface Fact {
  name: string;
  values: readonly string[];
  isCode?: boolean;
  link?: string | null;
  /** The note is shown after the values. */
  note?: string;
}

export interface Kind<K extends RunKind = RunKind> {
  /** The words for one run, and for several. */
  name: string;
  plural: string;

  // These members are about the queue.
  /** The message of a run that waits. */
  queued: string;
  /** At most one run of a group is worked on at a time. */
  group(input: RunInputs[K]): string;
  /** Gives the same key to two requests whose inputs show that they are the same one. */
  dedupeKey?(input: RunInputs[K]): string;
  /** Says which queued runs a newer one of the group makes unnecessary, and their message then. Left out: none. */
  coalescing?: {
    covers(request: { trigger: Trigger; input: RunInputs[K] }): boolean;
    message(input: RunInputs[K]): string;
  };
  /** Only a machine that has this tool takes the run. */
  machineTool?(input: RunInputs[K]): Pick<DeployInput, 'tool' | 'toolVersion'>;

  // These members are about reports.
  reporters: readonly ReporterName[];
  /** The commit status; left out: a run of this kind has none. */
  status?: {
    /** Returns the name under which GitHub shows the newest status of a commit; its case does not matter to GitHub. */
    context(input: RunInputs[K]): string;
    /** The status says that a commit is deployed. It is sent first, and a covered run has that of the covering one. */
    isPromise?: true;
    /** `covering` is the run whose outcome counts: the run itself, or the one that covers it. */
    of(run: Run<K>, covering: Run<K>): StatusWords | null;
  };
  /** What GitHub may show of the services that a run chooses. Left out: nothing. */
  services?: {
    /** Returns the name of the environment that the run deploys to; null if it deploys nothing. */
    environment(input: RunInputs[K]): string | null;
    /** Returns the name under which GitHub shows the newest status of a service at a commit. */
    context(input: RunInputs[K], service: string): string;
  };
  /** Replaces words of RUN_REASONS that are about syncs or deployments and would mislead the reader. */
  nextActions?: Partial<Record<RunReason, string>>;

  // These members are about repetition.
  /** Returns the input of a run that repeats this one, or why it cannot. `failed` are the steps to run again. */
  retry(run: Run<K>, failed: string[]): RunInputs[K] | string;
  /** Returns the input of a run for the services that a hold kept `run` from syncing. Left out: a hold stops nothing; null: the run itself waits. */
  afterHold?(run: Run<K>, services: string[]): RunInputs[K] | null;
  /** Returns why a delivery with this input is not replayed, or null. */
  whyNotReplayed?(input: RunInputs[K]): string | null;

  // These members are about pages and JSON.
  /** Returns the title. Left out, or null: the subject of the commit is the title. */
  title?(run: Run<K>): string | null;
  /** The branch, or another name of the commit; null if none is known. */
  ref(input: RunInputs[K]): string | null;
  /** The label of `ref`. Left out: Branch. */
  refLabel?: string;
  /** The page of the repository, or null if it has none. Left out: it is the operator's own repository. */
  repositoryPage?(input: RunInputs[K]): string | null;
  facts?(input: RunInputs[K]): readonly (Fact | null)[];
  options?(input: RunInputs[K]): string[];
  /** Returns the members of a run's JSON that only this kind has. */
  json?(run: Run<K>): object;
  /** The steps of a run are services, which run in waves. */
  hasWaves?: true;
  /** Left out: no run of this kind waits for an approval. */
  approval?: {
    /** The thing that an approval is for. The digest or the id that it is bound to follows. */
    thing: string;
    /** A remark for the person who approves. */
    note?: string;
    /** Returns what a person types on the page before approving, because it cannot be undone; null: nothing. */
    confirmed?(input: RunInputs[K]): string | null;
    /** The answer to a decision that the run does not await. The state of the run follows. */
    notAsked: string;
  };
  /** Left out: the kind runs no Terraform or OpenTofu, so there are no plans. */
  tool?: {
    history: string;
    /** The root module, if there is only one. */
    directory(input: RunInputs[K]): string | null;
  };
}
