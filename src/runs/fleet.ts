/**
 * The port to the other machines that share a store. It shows which are alive, and which has a duty that only one may
 * have.
 */

import { SECOND } from '../units.ts';
import type { RunKind } from './run.ts';

/** The sign of life that a process gives. */
export interface WorkerSign {
  /** The owner of the leases of its runs: a name and a process id. */
  owner: string;
  /** `serve` also answers requests. */
  command: 'serve' | 'worker';
  version: string;
  /** Null: the worker takes runs with any labels. */
  labels: readonly string[] | null;
  /** The tools of its machine by `toolName`. It takes only deployments by one of them. Null: takes any. */
  tools: readonly string[] | null;
  limits: { readonly [K in RunKind]: number };
  /** The runs that it works on. */
  runs: readonly string[];
  startedAt: number;
  /** The time of this sign, by the clock of the store. */
  at: number;
}

/** Signs of life come every five seconds. */
const SILENT_MS = 20 * SECOND;

/** True if the last sign is too old. `now` is by the clock of the store. */
export function isSilent({ at }: WorkerSign, now: number): boolean {
  return now - at > SILENT_MS;
}

export interface Fleet {
  /** Gives a sign of life. The store adds the members that it knows better. */
  beat(sign: Omit<WorkerSign, 'tools' | 'at'>): Promise<void>;
  /** Removes the sign of a process that stops in order. */
  leave(owner: string): Promise<void>;
  /** The processes that gave a sign in the last minutes, by name, and the present time by the clock of the store. */
  workers(): Promise<{ workers: WorkerSign[]; now: number }>;
  /**
   * The time since which the oldest queued run waits, in ms since the epoch. Null if none waits, or if all wait for the
   * end of a hold, because that says nothing about the workers.
   */
  oldestWaiting(): Promise<number | null>;
  /** True if `owner` has the duty for the next `leaseMs`. Nobody else has it in that time. */
  takeDuty(duty: string, owner: string, leaseMs: number): Promise<boolean>;
  /** Gives the duty to the next machine that asks. */
  leaveDuty(duty: string, owner: string): Promise<void>;
  /** The name of the data in the store. If the name changes, the data from before is lost. */
  identity(): Promise<string>;
}
