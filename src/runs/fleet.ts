/** The port to the other machines that share a store: who is alive, and who does what only one may do. */

import { SECOND } from '../units.ts';
import type { RunKind } from './run.ts';

/** The sign of life that a process gives. */
export interface WorkerSign {
  /** As in the leases of its runs: a name and a process id. */
  owner: string;
  /** `serve` also answers requests. */
  command: 'serve' | 'worker';
  version: string;
  /** Null: takes runs with any labels. */
  labels: readonly string[] | null;
  /** What its machine has, each as of `toolName`: takes only deployments by one of them. Null: takes any. */
  tools: readonly string[] | null;
  limits: { readonly [K in RunKind]: number };
  /** The runs it works on. */
  runs: readonly string[];
  startedAt: number;
  /** Of this sign, by the clock of the store. */
  at: number;
}

/** Signs of life come every five seconds. */
const SILENT_MS = 20 * SECOND;

/** Heard of, but not lately. `now` is by the clock of the store. */
export function isSilent({ at }: WorkerSign, now: number): boolean {
  return now - at > SILENT_MS;
}

export interface Fleet {
  /** Gives a sign of life; what the store knows better is filled in. */
  beat(sign: Omit<WorkerSign, 'tools' | 'at'>): Promise<void>;
  /** Who stops in order takes its sign back. */
  leave(owner: string): Promise<void>;
  /** Those heard of in the last minutes, by name, and the present time by the clock of the store. */
  workers(): Promise<{ workers: WorkerSign[]; now: number }>;
  /** Since when the oldest run waits, in ms since the epoch, or null when none does. */
  oldestWaiting(): Promise<number | null>;
  /** True when `owner` has the role for the next `leaseMs`: nobody else has it then. */
  hold(role: string, owner: string, leaseMs: number): Promise<boolean>;
  /** Gives the role to whoever asks next. */
  release(role: string, owner: string): Promise<void>;
  /** Names the data: another one, or a new one, means that what was stored before is gone. */
  identity(): Promise<string>;
}
