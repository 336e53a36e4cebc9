/** Reads the arguments of every process of the machine, which any user of the machine can see. */

import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export interface CommandLineWatch {
  /** Reads them now, at a moment when an interesting process is known to run. */
  look(): void;
  /** Every different command line seen so far. */
  seen: Set<string>;
  stop(): Promise<void>;
}

/** Reads them again and again until it is stopped. Linux only. */
export function watchCommandLines(): CommandLineWatch {
  const seen = new Set<string>();
  let stopped = false;

  function look(): void {
    for (const name of readdirSync('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      try {
        seen.add(readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0').join(' ').trim());
      } catch {
        // The process ended meanwhile.
      }
    }
  }

  const watching = (async () => {
    for (; !stopped; await sleep(5)) look();
  })();

  return {
    look,
    seen,
    async stop() {
      stopped = true;
      await watching;
    },
  };
}
