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

/** The command line is wrong: the program prints its usage. */
export class UsageError extends RunnerError {}

/** A request is refused, with this HTTP status; nothing was changed. */
export class RequestError extends RunnerError {
  readonly status: 400 | 401 | 403 | 404 | 409 | 413 | 415 | 429 | 503;
  /** When to try again, if that is known. */
  readonly retryAfterSeconds: number | null;

  constructor(
    status: RequestError['status'],
    message: string,
    options: RunnerErrorOptions & { retryAfterSeconds?: number } = {},
  ) {
    super(message, options);
    this.status = status;
    this.retryAfterSeconds = options.retryAfterSeconds ?? null;
  }
}

/** The store could not commit (full disk, lock, time limit). Nothing may be acknowledged. */
export class StoreUnavailableError extends RunnerError {}

/** The store cannot be reached now; it may be there later, without anybody's doing. */
export class StoreUnreachableError extends StoreUnavailableError {}

/** So many runs wait already that no more are taken. Nothing was stored. */
export class QueueFullError extends StoreUnavailableError {}

/** The nonce of a request was spent before. Nothing was stored. */
export class NonceSpentError extends RunnerError {}

/** What runs has to end: all its graces together are cut to `endWithinMs`. */
export class MustEndError extends RunnerError {
  readonly endWithinMs: number;

  constructor(message: string, endWithinMs: number, options: RunnerErrorOptions = {}) {
    super(message, options);
    this.endWithinMs = endWithinMs;
  }
}

/** A part that only sends has a defect. The process ends for it, but work that runs may end first. */
export class ReporterFailedError extends RunnerError {}

/** Another worker holds this run now, or may do so soon; whoever sees this must stop working on it. */
export class StaleLeaseError extends MustEndError {
  constructor(runId: string, endWithinMs = 1_000) {
    const message = `Run ${runId} is no longer leased to this worker.`;
    super(message, endWithinMs, { nextAction: 'Stop working on it.' });
  }
}

/** Somebody cancelled the run: the reason with which its signal is aborted. */
export class CancelRequested extends RunnerError {
  constructor(by: string) {
    super(`Cancelled by ${by}`);
  }
}

/** The workspace cannot be had: somebody else holds, or took, its lock, or the file system refuses it. */
export class WorkspaceBusyError extends RunnerError {}

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

/** The name of a system error, such as `ENOENT`; empty for any other error. */
export function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** For a promise about a file: gives `value` if there is no such file. */
export function orIfMissing<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (errorCode(error) === 'ENOENT') return value;
    throw error;
  };
}
