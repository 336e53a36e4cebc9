/** The few error types that cross rooms. Each says what happened, to what, and what to do next. */

interface RunnerErrorOptions {
  /** What the reader should do now, one imperative sentence. */
  nextAction?: string;
  cause?: unknown;
}

export class RunnerError extends Error {
  readonly nextAction: string | null;

  constructor(message: string, options: RunnerErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.nextAction = options.nextAction ?? null;
  }
}

/** The environment is wrong; the program must not start. */
export class ConfigError extends RunnerError {}

/** The caller's words are wrong: command line usage, or a request that gets a 4xx. */
export class InputError extends RunnerError {}

/** The store could not commit (full disk, lock, time limit). Nothing may be acknowledged. */
export class StoreUnavailableError extends RunnerError {}

/** Another worker holds this run now; whoever sees this must stop working on it at once. */
export class StaleLeaseError extends RunnerError {
  constructor(runId: string) {
    super(`Run ${runId} is no longer leased to this worker.`, { nextAction: 'Stop working on it.' });
  }
}

/** git could not do its part. `kind` lets a pipeline choose the run's reason. */
export class GitError extends RunnerError {
  readonly kind: 'unavailable' | 'unknown_revision' | 'disk_full' | 'broken';

  constructor(kind: GitError['kind'], message: string, options: RunnerErrorOptions = {}) {
    super(message, options);
    this.kind = kind;
  }
}

/** One line for a person: the message and, when there is one, what to do next. */
export function describeError(error: unknown): string {
  if (error instanceof RunnerError && error.nextAction) return `${error.message} ${error.nextAction}`;
  return error instanceof Error ? error.message : String(error);
}

/** True when `error`, or anything in its cause chain, is the system's "no space left". */
export function isDiskFull(error: unknown): boolean {
  for (let current = error; current instanceof Error; current = current.cause) {
    const code = 'code' in current ? current.code : undefined;
    if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG') return true;
    if (/no space left on device|disk is full|disk quota exceeded/i.test(current.message)) return true;
  }
  return false;
}
