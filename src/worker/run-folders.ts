/** Removes the folders of deployments: their secrets at the end of the run, the rest a day later. */

import { lstat, readdir } from 'node:fs/promises';
import path from 'node:path';
import type { Logger } from 'pino';
import { type Loop, startLoop } from '../loop.ts';
import type { Run } from '../runs/run.ts';
import type { RunStore } from '../runs/run-store.ts';
import { DAY, MINUTE, SECOND } from '../units.ts';

const KEPT_MS = DAY;
const LEFT_OVER_MS = 10 * MINUTE;
/** The form of a run's id. Nothing else in the folder belongs to this program. */
const RUN_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export interface RunFoldersOptions {
  store: Pick<RunStore, 'run'>;
  /** Contains a folder for each run, named by the run's id. */
  directory: string;
  /** Removes what is secret in a folder. A deployment may end without a worker: rejected, or out of time. */
  forgetSecrets(folder: string): Promise<void>;
  /** Removes a folder with all that it contains. */
  remove(folder: string): Promise<void>;
  now(): number;
  log: Logger;
}

export function startRunFolders(options: RunFoldersOptions): Loop {
  const { log } = options;
  return startLoop({
    firstMs: 10 * SECOND,
    pauseMs: MINUTE,
    work: () => tidyFolders(options),
    onError: (err) => log.warn({ err }, 'the folders of deployments could not be tidied; it is tried again'),
  });
}

/** Never throws: a folder that cannot be removed is logged and tried again the next time. */
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

/** A test of DEPLOY_DIR makes a folder with such a name, too. It is no leftover while the test runs. */
async function untilLeftOver(folder: string): Promise<number> {
  return (await lstat(folder)).mtimeMs + LEFT_OVER_MS;
}
