/** Plans the targets of DRIFT_TARGETS on a schedule, to find deployments that differ from the repository. */

import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { ConfigError, describeError } from '../../errors.ts';
import { type Loop, startLoop } from '../../loop.ts';
import { enqueueRun } from '../../runs/enqueue.ts';
import { deployGroup } from '../../runs/kinds/deploy.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { MINUTE, SECOND } from '../../units.ts';
import { describeProblem } from '../../yaml-file.ts';
import { type DriftFileOptions, type DriftTarget, parseDriftFile } from './drift-file.ts';

export interface DriftOptions extends DriftFileOptions {
  store: RunStore;
  /** The path of the file of targets, which is read again at each look. */
  file: string;
  /** Between two checks of a target, unless the target has its own interval. */
  intervalMs: number;
  /** Seals a text that no file may show. */
  seal(text: string): string;
  /** Milliseconds since the epoch. */
  now(): number;
  log: Logger;
  /** The time before the first look; default 10 s. */
  firstMs?: number;
}

const FIRST_MS = 10 * SECOND;
/**
 * The longest time between two looks. Each look starts one check at most, so that not all targets are checked at
 * once.
 */
const LOOK_MS = MINUTE;
const RUNS_PER_READ = 100;

/**
 * Throws ConfigError with every mistake when the file cannot be used. A mistake that is made later is logged, and the
 * last good targets are used. `stop` resolves when the last look has ended.
 */
export async function startDriftChecks(options: DriftOptions): Promise<Loop> {
  const { file, log, firstMs = FIRST_MS } = options;
  const first = await readTargets(options);
  if (!first.ok)
    throw new ConfigError(first.problem, { nextAction: 'Correct the file, or unset DRIFT_TARGETS.' });
  let { targets } = first;
  let loggedProblem: string | null = null;
  const checks = createChecks(options);

  async function look(signal: AbortSignal): Promise<void> {
    const read = await readTargets(options);
    if (read.ok) ({ targets } = read);
    const problem = read.ok ? null : read.problem;
    // Each problem is logged once.
    if (problem !== null && problem !== loggedProblem)
      log.error({ problem }, 'drift: the last good targets are used');
    if (problem === null && loggedProblem !== null)
      log.info({ file }, 'drift: the file of targets is good again');
    loggedProblem = problem;
    signal.throwIfAborted();
    await checks.startNext(targets, signal);
  }
  return startLoop({
    firstMs,
    pauseMs: () => pauseBetweenLooks(options, targets),
    work: look,
    onError: (err) => log.warn({ err }, 'drift checks could not be started; it is tried again'),
  });
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

/** The pause is so short that every target has its turn within half of an interval. */
function pauseBetweenLooks({ intervalMs }: DriftOptions, targets: readonly DriftTarget[]): number {
  const shortest = Math.min(intervalMs, ...targets.map((target) => target.intervalMs ?? intervalMs));
  return Math.min(LOOK_MS, Math.ceil(shortest / (2 * Math.max(1, targets.length))));
}

function groupOf({ input }: DriftTarget): string {
  return deployGroup(input.gitUrl, input.path);
}

function createChecks(options: DriftOptions) {
  const { store, now, seal, log } = options;
  /** The time of each target's last check. The store is asked once, because nobody else starts checks. */
  const lastChecks = new Map<string, number>();

  async function dueAt(target: DriftTarget): Promise<number> {
    const key = JSON.stringify([groupOf(target), target.name]);
    const intervalMs = target.intervalMs ?? options.intervalMs;
    const at = lastChecks.get(key) ?? (await findLastCheck(store, target, now() - intervalMs));
    // A time in the future comes from a clock that was set back since.
    lastChecks.set(key, Math.min(at, now()));
    return Math.min(at, now()) + intervalMs;
  }

  async function start(target: DriftTarget): Promise<void> {
    const { name, input, secrets, priority, labels } = target;
    const { run } = await enqueueRun(store, 'deploy', {
      trigger: { source: 'drift_check', actor: name },
      input,
      priority,
      labels,
      sealed: seal(JSON.stringify(secrets)),
    });
    lastChecks.set(JSON.stringify([groupOf(target), name]), run.createdAt);
    log.info({ run_id: run.id, target: name }, 'drift check started');
  }

  return {
    /** Starts the check that is most overdue, of a target that has no active deployment. */
    async startNext(targets: readonly DriftTarget[], signal: AbortSignal): Promise<void> {
      const times = await Promise.all(targets.map(async (target) => ({ target, at: await dueAt(target) })));
      const due = times.filter(({ at }) => at <= now()).toSorted((a, b) => a.at - b.at);
      for (const { target } of due) {
        if ((await store.active(groupOf(target))).length > 0) continue;
        // Nothing starts once the process is ending.
        signal.throwIfAborted();
        return start(target);
      }
    },
  };
}

/** The time of the target's last check, or 0 if there was none after `since`. */
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
