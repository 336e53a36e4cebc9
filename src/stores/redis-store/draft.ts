/** What a write is going to do, with all it rests on: committed whole, or not at all when that has changed meanwhile. */

import { QueueFullError, StoreUnavailableError } from '../../errors.ts';
import type { Lease } from '../../runs/run-store.ts';
import type { Connection, Reply } from './connection.ts';
import type { Keys } from './keys.ts';
import { COMMIT } from './scripts.ts';

type Word = string | number;

export interface Draft {
  checks: { operator: 'is' | 'absent' | 'below'; expected: Word; command: Word[] }[];
  writes: Word[][];
  /** Runs whose watchers are told. */
  changed: string[];
  /** Somebody waits for it who is answered "not stored" in the end: Redis refuses it when it comes to it too late. */
  isRequest: boolean;
  /** A lease to be granted with it. */
  lease?: { runId: string; owner: string; leaseMs: number };
}

export function createDraft({ isRequest = false } = {}): Draft {
  return { checks: [], writes: [], changed: [], isRequest };
}

/** Fails the commit unless `command` still answers `found`; null when there was nothing. */
export function expectSame(draft: Draft, command: Word[], found: Reply): void {
  const check =
    found === null
      ? ({ operator: 'absent', expected: '' } as const)
      : ({ operator: 'is', expected: String(found) } as const);
  draft.checks.push({ ...check, command });
}

export function expectBelow(draft: Draft, command: Word[], limit: number): void {
  draft.checks.push({ operator: 'below', expected: limit, command });
}

export interface Committer {
  /** The token of the granted lease, if any; false when something had changed: read it again, then try again. */
  commit(draft: Draft): Promise<{ token: Lease['token'] } | false>;
}

/** Of the time of a call. What is left is for the answer: a write is not begun when nobody would hear of it. */
const REQUEST_PART = 0.75;
/** Other processes' changes are kept for those who are just away. */
const KEPT_CHANGES = 10_000;

/** `onChange` is called after each commit, before its promise resolves; `instance` marks changes as our own. */
export function createCommitter(
  connection: Connection,
  keys: Keys,
  instance: string,
  onChange: (runId: string) => void,
): Committer {
  return {
    async commit({ checks, writes, changed, isRequest, lease }) {
      const deadline = isRequest ? (await timeOf(connection)) + connection.timeoutMs * REQUEST_PART : '';
      const all = changed.length === 0 ? writes : [...writes, telling(keys, instance, changed)];
      const reply = await connection.evaluate(COMMIT, [
        deadline,
        checks.length,
        ...checks.flatMap(({ operator, expected, command }) => [operator, expected, ...counted(command)]),
        all.length,
        ...all.flatMap(counted),
        ...counted(lease ? leaseWords(keys, lease) : []),
        keys.numbers,
      ]);
      const [outcome, value] = Array.isArray(reply) ? reply : [];
      if (outcome === 'full') throw queueFull(String(value));
      if (outcome === 'late') throw tooLate();
      if (outcome !== 'committed') return false;
      for (const runId of changed) onChange(runId);
      return { token: Number(value ?? 0) };
    },
  };
}

/** By the clock of Redis, as ours may be another. */
async function timeOf(connection: Connection): Promise<number> {
  const reply = await connection.call('TIME');
  const [seconds = 0, microseconds = 0] = Array.isArray(reply) ? reply.map(Number) : [];
  return seconds * 1_000 + microseconds / 1_000;
}

function counted(words: Word[]): Word[] {
  return [words.length, ...words];
}

function telling(keys: Keys, instance: string, changed: string[]): Word[] {
  const runs = [...new Set(changed)].join(',');
  return ['XADD', keys.changes, 'MAXLEN', '~', KEPT_CHANGES, '*', 'by', instance, 'runs', runs];
}

function leaseWords(keys: Keys, { runId, owner, leaseMs }: NonNullable<Draft['lease']>): Word[] {
  return [keys.run(runId), runId, owner, leaseMs, keys.leases, keys.token];
}

function tooLate(): StoreUnavailableError {
  return new StoreUnavailableError('Redis came to the request too late, so nothing was stored.', {
    nextAction: 'Try again; if it stays so, look at what keeps Redis busy.',
  });
}

function queueFull(queued: string): QueueFullError {
  return new QueueFullError(`The queue is full: ${queued} runs are waiting.`, {
    nextAction: 'Send it again later; see what holds up the runs, or raise QUEUE_LIMIT.',
  });
}
