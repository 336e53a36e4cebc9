/** The folders of deployments: secrets are removed when these have ended, the rest a day later, and what belongs to no run. */

import { lstat, readdir } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Run } from '../runs/run.ts';
import type { RunStore } from '../runs/run-store.ts';
import { DAY, MINUTE, SECOND } from '../units.ts';

const FIRST_MS = 10 * SECOND;
const INTERVAL_MS = MINUTE;
const KEPT_MS = DAY;
const LEFT_OVER_MS = 10 * MINUTE;
/** The form of a run's id: nothing else in the folder is ours. */
const RUN_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export interface RunFoldersOptions {
  store: Pick<RunStore, 'run'>;
  /** Holds a folder for each run, named by its id. */
  directory: string;
  /** Removes what is secret in one. A deployment may end without a worker: rejected, or out of time. */
  forgetSecrets(folder: string): Promise<void>;
  /** Removes one with all in it. */
  remove(folder: string): Promise<void>;
  now(): number;
  log: Logger;
}

export function startRunFolders(options: RunFoldersOptions): { stop(): Promise<void> } {
  const ending = new AbortController();
  const { signal } = ending;

  async function run(): Promise<void> {
    for (let pause = FIRST_MS; ; pause = INTERVAL_MS) {
      await sleep(pause, undefined, { signal, ref: false });
      await tidyFolders(options);
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

/** Never throws: what cannot be removed is logged and tried again the next time. */
export async function tidyFolders(options: RunFoldersOptions): Promise<void> {
  const { store, directory, now, log } = options;
  const names = await readdir(directory).catch(() => []);
  for (const name of names.filter((entry) => RUN_ID.test(entry))) {
    try {
      const run = await store.run(name);
      const folder = path.join(directory, name);
      const keptUntil = run === null ? await untilLeftOver(folder) : untilForgotten(run);
      if (keptUntil < now()) await options.remove(folder);
      else if (run !== null && run.finishedAt !== null) await options.forgetSecrets(folder);
    } catch (error) {
      log.warn(
        { err: error, folder: name },
        'the folder of a deployment could not be tidied; it is tried again in a minute',
      );
    }
  }
}

function untilForgotten({ finishedAt }: Run): number {
  return finishedAt === null ? Number.POSITIVE_INFINITY : finishedAt + KEPT_MS;
}

/** A probe of the folder, too, has such a name, and is no leftover while it lasts. */
async function untilLeftOver(folder: string): Promise<number> {
  return (await lstat(folder)).mtimeMs + LEFT_OVER_MS;
}
