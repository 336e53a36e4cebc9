/** Starts another process that ends the steps if this process dies or hangs. */

import { type ChildProcess, spawn } from 'node:child_process';
import { moduleFile } from '../../program-files.ts';
import type { ProcessIdentity } from '../process-stat.ts';

interface WatchdogOptions {
  /** If there is no sign of life for so long, all held processes are ended. */
  silenceMs: number;
  /** The time between TERM and KILL. */
  graceMs: number;
  /** Called when the watchdog has ended and a new one replaces it. */
  onReplaced(): void;
}

/** A session leader that was just started. The marker finds processes that left its session. */
export type HeldProcess = ProcessIdentity & { marker: string | undefined };

export interface Watchdog {
  /** Holds the process until the returned function is called. A held process and its descendants end if this process dies. */
  hold(process: HeldProcess): () => void;
  /** Resolves when the watchdog's process has ended. Call it only when nothing is held. */
  close(): Promise<void>;
}

/** A line that the watchdog's process reads. `held` is the whole list, so that no line depends on another. */
export type WatchdogMessage = { held: HeldProcess[] };

/** If the watchdog misses as many signs of life as this, this process counts as hanging. */
const SIGNS = 6;
const RELAUNCH_MS = 200;

/**
 * The watchdog reads from a pipe to this process, and the kernel closes the pipe when this process dies, for whatever
 * reason. The watchdog leads its own session, so that a signal to our process group does not end it.
 */
export function startWatchdog(options: WatchdogOptions): Watchdog {
  const held = new Map<string, HeldProcess>();
  const program = keepProgram(options, send);
  const timer = setInterval(send, options.silenceMs / SIGNS);
  timer.unref();

  function send(): void {
    const message: WatchdogMessage = { held: [...held.values()] };
    program.write(`${JSON.stringify(message)}\n`);
  }

  program.launch();
  return {
    hold(process) {
      const key = `${process.pid}@${process.startTicks}`;
      held.set(key, process);
      send();
      return () => {
        held.delete(key);
        send();
      };
    },
    close() {
      clearInterval(timer);
      return program.close();
    },
  };
}

/** Starts the watchdog's process again whenever it ends. `onLaunch` is called after each start. */
function keepProgram(options: WatchdogOptions, onLaunch: () => void) {
  let closed: (() => void) | null = null;
  let program: ChildProcess | null = null;

  function launch(): void {
    if (closed) return;
    program = spawnProgram(options);
    program?.once('exit', onEnd);
    program?.once('error', onEnd);
    if (program === null) launchSoon();
    else onLaunch();
  }
  function onEnd(): void {
    program = null;
    if (closed) return void closed();
    options.onReplaced();
    launchSoon();
  }
  /** Waits before the start, because a start that fails now may work in a moment. */
  function launchSoon(): void {
    setTimeout(launch, RELAUNCH_MS);
  }
  return {
    launch,
    write(line: string): void {
      program?.stdin?.write(line);
    },
    close(): Promise<void> {
      return new Promise((resolve) => {
        closed = resolve;
        if (program === null) return resolve();
        program.ref();
        program.stdin?.end();
      });
    },
  };
}

/** Returns null if there is no memory or no file descriptor for another process. */
function spawnProgram({ silenceMs, graceMs }: WatchdogOptions): ChildProcess | null {
  const file = moduleFile('process/watchdog/watchdog-program');
  try {
    const child = spawn(process.execPath, [file, `${silenceMs}`, `${graceMs}`], {
      cwd: '/',
      env: {},
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    child.unref();
    // 'exit' and 'error' report its end.
    child.stdin?.on('error', () => undefined);
    return child;
  } catch {
    return null;
  }
}
