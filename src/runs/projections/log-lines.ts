/** The log of a step as numbered lines, which count from 1 in each step. */

import type { OutputStream } from '../run-events.ts';

/** Lines that were stored together. */
export interface LogChunk {
  /** The number of its first line. */
  firstLine: number;
  /** The sequence number of its event. */
  seq: number;
  /** Milliseconds since the epoch. */
  at: number;
  stream: OutputStream;
  lines: string[];
}

/** A part of the log of a step: from line `from` to line `to`, or fewer lines if they have more than about `characters`. */
export interface LogPage {
  step: string;
  from: number;
  to: number;
  characters: number;
}

export interface LogTotals {
  /** The number of lines of each step. */
  totals: Map<string, number>;
  /** The sequence number of the last event that is counted. */
  through: number;
}
