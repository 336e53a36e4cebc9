/** Keeps one server: starts it, sends it signals, restarts it, and notices when it ends by itself. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Runner } from '../support/runner.ts';
import type { Stage } from '../support/stage.ts';
import { until } from '../support/until.ts';
import { type Facts, nowNs } from './facts.ts';
import type { Story } from './story.ts';

const SUPERVISOR_PAUSE_MS = 200;
const SUPERVISOR_LIMIT_MS = 60_000;

export interface ServerKeeper {
  /** The server that answers now, or null between a signal and the next start. */
  current(): Runner | null;
  /** The address of the last server, whether or not it lives. */
  url(): string;
  /** Resolves when a server answers, and after 10 s in any case. */
  up(): Promise<void>;
  /** Sends the signal at once. From then on, the server does not count as running. */
  hit(signal: 'SIGKILL' | 'SIGTERM'): void;
  /** After a signal, waits for the end of the server and then for `pauseMs`, and starts the next one. */
  revive(pauseMs: number): Promise<Runner>;
  /**
   * From now on this server may end by itself, as after an I/O error. It is then restarted, as a supervisor would
   * do.
   */
  excuseEnd(runner: Runner): void;
  /** Starts a server that is killed after `afterMs`, whether it is ready or not. Works only after a signal. */
  stillborn(afterMs: number): Promise<void>;
  /** The output of all servers so far, oldest first. */
  outputs(): string[];
  /** From now on, no server is restarted when it ends. */
  dismiss(): void;
}

export interface ServerOptions {
  stage: Stage;
  facts: Facts;
  story: Story;
  /** The argv of the server. */
  program: readonly string[];
  /** Called for each start. */
  environment(): Record<string, string | undefined>;
}

export function keepServer(options: ServerOptions): ServerKeeper {
  const { stage, facts, story, program } = options;
  const started: Runner[] = [];
  /** The servers that got signals, with these signals. */
  const hits = new Map<Runner, Set<string>>();
  const excused = new Set<Runner>();
  let isDismissed = false;
  let turn: Promise<unknown> = Promise.resolve();

  function current(): Runner | null {
    const last = started.at(-1);
    return last && !hits.has(last) ? last : null;
  }

  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = turn.then(work);
    turn = result.catch(() => undefined);
    return result;
  }

  async function launch(argv: readonly string[]): Promise<Runner> {
    const runner = await stage.start({ program: argv, environment: options.environment() });
    started.push(runner);
    void runner.exited.then(({ exitCode, signal }) => {
      if (isDismissed) return;
      const got = hits.get(runner);
      const how = signal ?? `exit code ${exitCode}`;
      if (!got && excused.has(runner)) {
        note(runner, 'ended');
        facts.serverKillsNs.push(nowNs());
        story.add(`the server ended by itself with ${how}, as it may`);
        void revive(0).catch((error: unknown) => facts.surprises.push(String(error)));
      } else if (!got) facts.surprises.push(`the server ended by itself with ${how}`);
      else if (!got.has('SIGKILL') && exitCode !== 0 && !excused.has(runner)) {
        facts.surprises.push(`the server ended with ${how} after SIGTERM`);
      }
    });
    return runner;
  }

  function note(runner: Runner, signal: string): void {
    hits.set(runner, (hits.get(runner) ?? new Set()).add(signal));
  }

  /** A start may fail while the disk is full or the store is locked. The supervisor then tries again. */
  async function launchUntilUp(): Promise<Runner> {
    const deadline = performance.now() + SUPERVISOR_LIMIT_MS;
    for (;;) {
      try {
        return await launch(program);
      } catch (error) {
        if (isDismissed || performance.now() > deadline || facts.hardships.length === 0) throw error;
        story.add('a start failed; it is tried again');
        await sleep(SUPERVISOR_PAUSE_MS);
      }
    }
  }

  function revive(pauseMs: number): Promise<Runner> {
    return inTurn(async () => {
      const living = current();
      if (living) return living;
      await started.at(-1)?.exited;
      await sleep(pauseMs);
      const runner = await launchUntilUp();
      story.add(`the server is up as ${runner.pid}`);
      return runner;
    });
  }

  return {
    current,
    url: () => started.at(-1)?.url ?? 'http://127.0.0.1:1',
    async up() {
      await until('a server', current, { timeoutMs: 10_000 }).catch(() => undefined);
    },
    outputs: () => started.map((runner) => runner.output()),
    dismiss() {
      isDismissed = true;
    },
    hit(signal) {
      const runner = current();
      if (!runner) return;
      note(runner, signal);
      facts.serverKillsNs.push(nowNs());
      runner.signal(signal);
      story.add(`${signal} to the server ${runner.pid}`);
    },
    revive,
    excuseEnd: (runner) => void excused.add(runner),
    stillborn: (afterMs) =>
      inTurn(async () => {
        if (current()) return;
        await started.at(-1)?.exited;
        story.add(`a start that is killed after ${afterMs} ms`);
        facts.serverKillsNs.push(nowNs());
        try {
          const runner = await launch(['timeout', '--signal=KILL', `${afterMs / 1_000}`, ...program]);
          note(runner, 'SIGKILL');
          await runner.exited;
        } catch {
          // The server was killed before it was ready.
        }
      }),
  };
}
