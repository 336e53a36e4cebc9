/** Keeps the calls that wait for the writer, and answers them. */

import { NonceSpentError, QueueFullError, StaleLeaseError, StoreUnavailableError } from '../../errors.ts';
import type { perform, WriteName } from '../sql/writes.ts';
import { isUnavailable, unavailable } from './connection.ts';
import type { Change } from './news.ts';

export interface Call {
  name: WriteName;
  values: unknown[];
  resolve(value: unknown): void;
  reject(error: Error): void;
  timeoutMs: number;
  /** The time of performance.now() at which the caller gives up, unless the call was taken into a transaction. */
  deadline: number;
  state: 'waiting' | 'taken' | 'given_up';
}

export interface Answer {
  call: Call;
  outcome: Awaited<ReturnType<typeof perform>>[number];
}

export function changesOf(answers: readonly Answer[]): Change[] {
  return answers.flatMap(({ outcome }) =>
    outcome instanceof Error ? [] : { runs: outcome.changed, mayClaim: outcome.mayClaim },
  );
}

export function fail(call: Call, error: unknown): void {
  const isAnswer =
    error instanceof StaleLeaseError || error instanceof QueueFullError || error instanceof NonceSpentError;
  if (!isAnswer && isUnavailable(error)) call.reject(unavailable('written', error));
  else call.reject(error instanceof Error ? error : new Error(String(error)));
}

/** Somebody waits for the answer of these calls, and the outcome may stay unknown while the database is away. */
export function limitUncertain(calls: readonly Call[]): NodeJS.Timeout[] {
  return calls
    .filter(({ timeoutMs }) => Number.isFinite(timeoutMs))
    .map(({ timeoutMs, reject }) => setTimeout(() => reject(uncertain()), timeoutMs).unref());
}

export function uncertain(): StoreUnavailableError {
  return new StoreUnavailableError(
    'The database did not confirm a commit: it may have stored this, or not.',
    {
      nextAction: 'Try again; the same delivery or request is stored once.',
    },
  );
}
