/** The errors that several parts of the program use. Each one says what happened and what to do next. */

interface RunnerErrorOptions {
  /** The next action of the reader, as one imperative sentence. */
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

/** The configuration is wrong, so the program must not start. */
export class ConfigError extends RunnerError {}

/** The command line is wrong, so the program prints its usage. */
export class UsageError extends RunnerError {}

/** A secret is not where the configuration says. The start was stopped, or a run fails. */
export class SecretMissingError extends ConfigError {}

/** A request is refused with this HTTP status. Nothing was changed. */
export class RequestError extends RunnerError {
  readonly status: 400 | 401 | 403 | 404 | 409 | 413 | 415 | 429 | 503;
  /** The time until the next try, or null if it is unknown. */
  readonly retryAfterSeconds: number | null;
  /** The code for programs, if it is not the usual one of the status. */
  readonly code: string | null;

  constructor(
    status: RequestError['status'],
    message: string,
    options: RunnerErrorOptions & { retryAfterSeconds?: number; code?: string } = {},
  ) {
    super(message, options);
    this.status = status;
    this.retryAfterSeconds = options.retryAfterSeconds ?? null;
    this.code = options.code ?? null;
  }
}

/** The store could not commit (full disk, lock, time limit). The request must not be acknowledged. */
export class StoreUnavailableError extends RunnerError {}

/** The store cannot be reached now. It may come back by itself. */
export class StoreUnreachableError extends StoreUnavailableError {}

/** Too many runs wait already. Nothing was stored. */
export class QueueFullError extends StoreUnavailableError {}

/** The nonce of a request was used before. Nothing was stored. */
export class NonceSpentError extends RunnerError {}

/** The running processes have to end within `endWithinMs`, including all pauses between signals. */
export class MustEndError extends RunnerError {
  readonly endWithinMs: number;

  constructor(message: string, endWithinMs: number, options: RunnerErrorOptions = {}) {
    super(message, options);
    this.endWithinMs = endWithinMs;
  }
}

/** A part that only sends reports has a defect. The process ends because of it, after the running work has ended. */
export class ReporterFailedError extends RunnerError {}

/** Another worker holds this run now, or may hold it soon. The receiver of this error must stop working on it. */
export class StaleLeaseError extends MustEndError {
  constructor(runId: string, endWithinMs = 1_000) {
    const message = `Run ${runId} is no longer leased to this worker.`;
    super(message, endWithinMs, { nextAction: 'Stop working on it.' });
  }
}

/** Somebody cancelled the run. This is the reason of the run's aborted signal. */
export class CancelRequested extends RunnerError {
  constructor(by: string) {
    super(`Cancelled by ${by}`);
  }
}

/** The workspace cannot be used: somebody else holds or took its lock, or the file system refuses it. */
export class WorkspaceBusyError extends RunnerError {}

/** git failed. A pipeline chooses the run's reason by `kind`. */
export class GitError extends RunnerError {
  readonly kind: 'unavailable' | 'unknown_revision' | 'disk_full' | 'broken';

  constructor(kind: GitError['kind'], message: string, options: RunnerErrorOptions = {}) {
    super(message, options);
    this.kind = kind;
  }
}

/** One line for a person: the message and the next action, if there is one. */
export function describeError(error: unknown): string {
  if (error instanceof RunnerError && error.nextAction) return `${error.message} ${error.nextAction}`;
  return error instanceof Error ? error.message : String(error);
}

/** The system's name of the error, such as ENOENT, or '' if it has none. */
export function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** True if the error, or any error that caused it, says that the disk is full. */
export function isDiskFull(error: unknown): boolean {
  for (let current = error; current instanceof Error; current = current.cause) {
    if (['ENOSPC', 'EDQUOT', 'EFBIG'].includes(errorCode(current))) return true;
    if (/no space left on device|disk is full|disk quota exceeded/i.test(current.message)) return true;
  }
  return false;
}

/** Returns a handler for a promise about a file. It returns `value` if the file does not exist. */
export function orIfMissing<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (errorCode(error) === 'ENOENT') return value;
    throw error;
  };
}
