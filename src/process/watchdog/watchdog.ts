/** Has steps ended by another process when this one dies, or stands still: nobody else on the machine would. */

import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { ProcessIdentity } from '../process-table.ts';

export interface WatchdogOptions {
  /** Without a sign of life for so long, all that is held is ended. */
  silenceMs: number;
  /** From TERM to KILL. */
  graceMs: number;
  /** Called when the watchdog itself was ended and another took its place. */
  onReplaced(): void;
}

/** A session leader that was just started; the marker finds what left its session. */
export type HeldProcess = ProcessIdentity & { marker: string | undefined };

export interface Watchdog {
  /** The process is ended with its descendants unless this process lives on; until the function returned is called. */
  hold(process: HeldProcess): () => void;
  /** Resolves when the watchdog's process has gone; nothing must be held any more. */
  close(): Promise<void>;
}

/** What the watchdog's process reads, a line each. `held` is all of it, so that no line depends on another. */
export type WatchdogMessage = { held: HeldProcess[] };

/** Signs of life in the time of a silence. */
const SIGNS = 6;
const RELAUNCH_MS = 200;

/**
 * The watchdog reads from a pipe whose other end this process holds: the kernel closes that whichever way we die. It
 * leads its own session, so that what ends our process group does not end it.
 */
export function startWatchdog(options: WatchdogOptions): Watchdog {
  const held = new Map<string, HeldProcess>();
  let closed: (() => void) | null = null;
  let program: ChildProcess | null = null;

  function launch(): void {
    if (closed) return;
    program = spawnProgram(options);
    program?.once('exit', onEnd);
    program?.once('error', onEnd);
    if (program === null) launchSoon();
    else tell();
  }
  function onEnd(): void {
    program = null;
    if (closed) {
      closed();
    } else {
      options.onReplaced();
      launchSoon();
    }
  }
  /** Not at once: what cannot be started now may be in a moment. */
  function launchSoon(): void {
    setTimeout(launch, RELAUNCH_MS);
  }
  function tell(): void {
    const message: WatchdogMessage = { held: [...held.values()] };
    program?.stdin?.write(`${JSON.stringify(message)}\n`);
  }

  launch();
  const timer = setInterval(tell, options.silenceMs / SIGNS);
  timer.unref();
  return {
    hold(process) {
      const key = `${process.pid}@${process.startTicks}`;
      held.set(key, process);
      tell();
      return () => {
        held.delete(key);
        tell();
      };
    },
    close() {
      clearInterval(timer);
      return new Promise((resolve) => {
        closed = resolve;
        if (program === null) return resolve();
        program.ref();
        program.stdin?.end();
      });
    },
  };
}

/** Null when there is no memory, or no more files, for another process. */
function spawnProgram({ silenceMs, graceMs }: WatchdogOptions): ChildProcess | null {
  const extension = import.meta.filename.endsWith('.ts') ? 'ts' : 'js';
  const file = fileURLToPath(new URL(`./watchdog-program.${extension}`, import.meta.url));
  try {
    const child = spawn(process.execPath, [file, `${silenceMs}`, `${graceMs}`], {
      cwd: '/',
      env: {},
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    child.unref();
    // That it is gone is told by 'exit' and 'error'.
    child.stdin?.on('error', () => undefined);
    return child;
  } catch {
    return null;
  }
}
