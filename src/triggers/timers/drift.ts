/** Plans registered targets on a schedule, to see whether what is deployed differs from what the repository says. */

import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { ConfigError, describeError } from '../../errors.ts';
import { enqueueRun } from '../../runs/enqueue.ts';
import { deployGroup } from '../../runs/kinds/deploy.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { MINUTE } from '../../units.ts';
import { describeProblem } from '../../yaml-file.ts';
import { type DriftFileOptions, type DriftTarget, parseDriftFile } from './drift-file.ts';

export interface DriftOptions extends DriftFileOptions {
  store: RunStore;
  /** Path of the file of targets. It is read again with each look. */
  file: string;
  /** Between two checks of a target that does not say otherwise. */
  intervalMs: number;
  /** What no file may show, as text that only we can open. */
  seal(text: string): string;
  /** Milliseconds since the epoch. */
  now(): number;
  log: Logger;
  /** Before the first look; default 10 s. */
  firstMs?: number;
}

const FIRST_MS = 10_000;
/** The longest time between two looks. Each begins one check at most, so that they do not all come at once. */
const LOOK_MS = MINUTE;
const RUNS_PER_READ = 100;

/**
 * Throws ConfigError naming each mistake when the file cannot be used. A mistake that comes later is said in the log,
 * and the last good targets hold. `stop` resolves when no look is under way any more.
 */
export async function startDriftChecks(options: DriftOptions): Promise<{ stop(): Promise<void> }> {
  const { file, log, firstMs = FIRST_MS } = options;
  const first = await readTargets(options);
  if (!first.ok) throw new ConfigError(first.problem, { nextAction: 'Mend it, or unset DRIFT_TARGETS.' });
  let { targets } = first;
  let saidProblem: string | null = null;
  const checks = createChecks(options);
  const ending = new AbortController();
  const { signal } = ending;

  async function look(): Promise<void> {
    const read = await readTargets(options);
    if (read.ok) ({ targets } = read);
    const problem = read.ok ? null : read.problem;
    // Said once, however often it is seen.
    if (problem !== null && problem !== saidProblem)
      log.error({ problem }, 'drift: the last good targets hold');
    if (problem === null && saidProblem !== null)
      log.info({ file }, 'drift: the file of targets is good again');
    saidProblem = problem;
    signal.throwIfAborted();
    await checks.beginNext(targets, signal);
  }
  async function run(): Promise<void> {
    for (let pauseMs = firstMs; ; pauseMs = pauseBetweenLooks(options, targets)) {
      await sleep(pauseMs, undefined, { signal, ref: false });
      try {
        await look();
      } catch (error) {
        signal.throwIfAborted();
        log.warn({ err: error }, 'drift checks could not be begun; it is tried again');
      }
    }
  }

  const running = run().catch((error: unknown) => {
    // A loop that breaks by itself ends the process: it would be missed by nobody.
    if (!signal.aborted) throw error;
  });
  return {
    stop() {
      ending.abort();
      return running;
    },
  };
}

async function readTargets(
  options: DriftOptions,
): Promise<{ ok: true; targets: DriftTarget[] } | { ok: false; problem: string }> {
  const { file } = options;
  try {
    const parsed = parseDriftFile(await readFile(file, 'utf8'), options);
    if (parsed.ok) return parsed;
    return {
      ok: false,
      problem: parsed.problems.map((problem) => describeProblem(file, problem)).join('\n'),
    };
  } catch (error) {
    return { ok: false, problem: `DRIFT_TARGETS cannot be read: ${describeError(error)}.` };
  }
}

/** So short that all targets have their turn in half of an interval. */
function pauseBetweenLooks({ intervalMs }: DriftOptions, targets: readonly DriftTarget[]): number {
  const shortest = Math.min(intervalMs, ...targets.map((target) => target.intervalMs ?? intervalMs));
  return Math.min(LOOK_MS, Math.ceil(shortest / (2 * Math.max(1, targets.length))));
}

function groupOf({ input }: DriftTarget): string {
  return deployGroup(input.gitUrl, input.path);
}

function createChecks(options: DriftOptions) {
  const { store, now, seal, log } = options;
  /** When each target was last checked, as the store told once: nobody else begins checks. */
  const lastChecks = new Map<string, number>();

  async function dueAt(target: DriftTarget): Promise<number> {
    const key = JSON.stringify([groupOf(target), target.name]);
    const intervalMs = target.intervalMs ?? options.intervalMs;
    const at = lastChecks.get(key) ?? (await findLastCheck(store, target, now() - intervalMs));
    // A time ahead of us is of a clock that was set back since.
    lastChecks.set(key, Math.min(at, now()));
    return Math.min(at, now()) + intervalMs;
  }

  async function begin(target: DriftTarget): Promise<void> {
    const { name, input, secrets, priority, labels } = target;
    const { run } = await enqueueRun(store, 'deploy', {
      trigger: { source: 'drift_check', actor: name },
      input,
      priority,
      labels,
      sealed: seal(JSON.stringify(secrets)),
    });
    lastChecks.set(JSON.stringify([groupOf(target), name]), run.createdAt);
    log.info({ run_id: run.id, target: name }, 'drift check begun');
  }

  return {
    /** Begins the check that is most overdue, of a target that nobody deploys to just now. */
    async beginNext(targets: readonly DriftTarget[], signal: AbortSignal): Promise<void> {
      const times = await Promise.all(targets.map(async (target) => ({ target, at: await dueAt(target) })));
      const due = times.filter(({ at }) => at <= now()).toSorted((a, b) => a.at - b.at);
      for (const { target } of due) {
        if ((await store.active(groupOf(target))).length > 0) continue;
        // Nothing starts once the process has begun to end.
        signal.throwIfAborted();
        return begin(target);
      }
    },
  };
}

/** When the target was last checked, or 0 when that is not known or not after `since`. */
async function findLastCheck(store: RunStore, target: DriftTarget, since: number): Promise<number> {
  let before: string | null = null;
  for (;;) {
    const page = await store.runs({
      kind: 'deploy',
      concurrencyGroup: groupOf(target),
      limit: RUNS_PER_READ,
      ...(before !== null && { before }),
    });
    const check = page.find(
      ({ trigger: { source, actor } }) => source === 'drift_check' && actor === target.name,
    );
    if (check) return check.createdAt;
    const oldest = page.at(-1);
    if (page.length < RUNS_PER_READ || !oldest || oldest.createdAt <= since) return 0;
    before = oldest.id;
  }
}
