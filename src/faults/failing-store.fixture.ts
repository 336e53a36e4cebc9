/** A real store whose n-th call fails: the way to visit every error path that begins with the store. */

import { StoreUnavailableError } from '../errors.ts';
import type { RunStore } from '../runs/run-store.ts';

export interface FailureOptions {
  /** Default: StoreUnavailableError. */
  error?: Error;
  /** How many calls fail, starting with the n-th. Default 1. With Infinity all calls fail until `heal`. */
  times?: number;
  /** The call is done, and only its answer is lost. Default: it is not done. */
  afterwards?: boolean;
  /** Only calls of these methods are counted and fail. Default: all methods that return a promise, except `close`. */
  only?: readonly StoreCall[];
}

/** The methods that may fail. */
type StoreCall = Exclude<keyof RunStore, 'watch' | 'isAlive' | 'close'>;

export interface FailingStore {
  store: RunStore;
  /** The number of calls, including those that failed. */
  calls(): number;
  /** The calls that failed, in order. Empty when fewer than `n` calls were made: the sweep is over. */
  failed(): StoreCall[];
  /** From now on no call fails. */
  heal(): void;
}

/** Wraps `store` so that its `n`-th call (from 1) fails. `n` may be Infinity, to count the calls. */
export function failAtCall(store: RunStore, n: number, options: FailureOptions = {}): FailingStore {
  const { error = new StoreUnavailableError('The store is away.'), times = 1, afterwards = false } = options;
  const { only } = options;
  const failed: StoreCall[] = [];
  let calls = 0;
  let isWell = false;

  function mayFail(name: string): name is StoreCall {
    if (name === 'watch' || name === 'isAlive' || name === 'close') return false;
    return only === undefined || only.some((one) => one === name);
  }

  function wrap(name: StoreCall, call: (...values: unknown[]) => Promise<unknown>) {
    return async (...values: unknown[]): Promise<unknown> => {
      calls += 1;
      if (isWell || calls < n || calls >= n + times) return call(...values);
      failed.push(name);
      if (afterwards) await call(...values);
      throw error;
    };
  }

  const wrapped = Object.entries(store).map(([name, method]) => [
    name,
    mayFail(name) ? wrap(name, method) : method,
  ]);
  return {
    store: Object.fromEntries(wrapped) as RunStore,
    calls: () => calls,
    failed: () => [...failed],
    heal: () => {
      isWell = true;
    },
  };
}
