/** What a write is going to do, with all it rests on: committed whole, or not at all when that has changed meanwhile. */

import { QueueFullError } from '../../errors.ts';
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
  /** A lease to be granted with it. */
  lease?: { runId: string; owner: string; leaseMs: number };
}

export function createDraft(): Draft {
  return { checks: [], writes: [], changed: [] };
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
    async commit({ checks, writes, changed, lease }) {
      const all = changed.length === 0 ? writes : [...writes, telling(keys, instance, changed)];
      const reply = await connection.evaluate(COMMIT, [
        checks.length,
        ...checks.flatMap(({ operator, expected, command }) => [operator, expected, ...counted(command)]),
        all.length,
        ...all.flatMap(counted),
        ...counted(lease ? leaseWords(keys, lease) : []),
        keys.numbers,
      ]);
      const [outcome, value] = Array.isArray(reply) ? reply : [];
      if (outcome === 'full') throw queueFull(String(value));
      if (outcome !== 'committed') return false;
      for (const runId of changed) onChange(runId);
      return { token: Number(value ?? 0) };
    },
  };
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

function queueFull(queued: string): QueueFullError {
  return new QueueFullError(`The queue is full: ${queued} runs are waiting.`, {
    nextAction: 'Send it again later; see what holds up the runs, or raise QUEUE_LIMIT.',
  });
}
