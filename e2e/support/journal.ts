/**
 * Reads the journal that the example's syncs write: which sync ran when, at which commit, and which syncs
 * overlapped.
 */

import { readFile } from 'node:fs/promises';
import { until } from './until.ts';

export interface JournalEntry {
  /** e.g. `platform/postgres` */
  service: string;
  /** The output of `git rev-parse HEAD` in the checkout, or `-`. */
  commit: string;
  pid: number;
  /** The run of the task, or `-`. */
  runId: string;
  /** Nanoseconds of the machine's monotonic clock, which processes can compare until a reboot. */
  startedNs: bigint;
  /** Null for a sync that runs or was killed. */
  endedNs: bigint | null;
  /** True if the sync ended with a failure. */
  failed: boolean;
}

export interface JournalContent {
  /** In the order of their starts. */
  syncs: JournalEntry[];
  /** Services of which two syncs ran at the same time. Must be empty. */
  overlaps: string[];
}

export interface Journal {
  /** The value of IAC_JOURNAL. */
  path: string;
  /** The content is empty before the first sync. */
  read(): Promise<JournalContent>;
  /** Waits until the service has started at least `times` syncs. Default: 1. */
  waitForStart(service: string, times?: number): Promise<JournalEntry>;
}

export function openJournal(path: string): Journal {
  const read = async (): Promise<JournalContent> => parseJournal(await readIfThere(path));
  return {
    path,
    read,
    async waitForStart(service, times = 1) {
      return until(`${times} sync(s) of ${service} in the journal`, async () => {
        const { syncs } = await read();
        return syncs.filter((sync) => sync.service === service)[times - 1];
      });
    },
  };
}

async function readIfThere(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
    throw error;
  }
}

/** Throws on an unknown line, because an incomplete or mixed line must be noticed. */
export function parseJournal(text: string): JournalContent {
  const syncs: JournalEntry[] = [];
  const overlaps: string[] = [];
  const running = new Map<string, JournalEntry>();
  for (const line of text.split('\n').slice(0, -1)) {
    const [word, service = '', commit = '', pid = '', time = '', runId = '-'] = line.split(' ');
    if (word === 'OVERLAP') {
      overlaps.push(service);
    } else if (word === 'start') {
      const startedNs = BigInt(time);
      const entry = { service, commit, pid: Number(pid), runId, startedNs, endedNs: null, failed: false };
      syncs.push(entry);
      running.set(`${service} ${pid}`, entry);
    } else if (word === 'end' || word === 'failed') {
      const entry = running.get(`${service} ${pid}`);
      if (!entry) throw new Error(`The journal has an end without a start: ${line}`);
      entry.endedNs = BigInt(time);
      entry.failed = word === 'failed';
      running.delete(`${service} ${pid}`);
    } else {
      throw new Error(`The journal has an unknown line: ${line}`);
    }
  }
  return { syncs, overlaps };
}
