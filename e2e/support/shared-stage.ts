/** One stage and one server for all tests of a file, where they do not disturb each other. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll } from 'vitest';
import { expectNoViolations } from './local-github.ts';
import { obtainedInvoke } from './obtained.ts';
import type { Runner } from './runner.ts';
import { type Stage, setStage } from './stage.ts';

export interface SharedStage {
  stage: Stage;
  runner: Runner;
}

type Environment = Record<string, string | undefined>;

/** To be called beside the tests; what it returns gives the stage inside of them. Kept on disk when one failed. */
export function shareStage(
  name: string,
  environment: (stage: Stage) => Environment | Promise<Environment> = () => ({}),
): () => SharedStage {
  let shared: SharedStage | undefined;
  let failed = false;

  beforeAll(async () => {
    const stage = await setStage({ name, invoke: obtainedInvoke() });
    shared = { stage, runner: await stage.start({ environment: await environment(stage) }) };
  });
  afterEach(({ task }) => {
    failed ||= task.result?.state === 'fail';
  });
  afterAll(async () => {
    if (!shared) return;
    const { stage } = shared;
    await stage.close({ keep: failed });
    if (failed) console.log(`The folder of the failed tests is kept: ${stage.folder}`);
    expectNoViolations(stage.github);
  });

  return () => {
    if (!shared) throw new Error('The stage is set before the first test, not earlier.');
    return shared;
  };
}

/** Lets tasks go on that wait at this gate; see waitAtGate. */
export async function openGate(stage: Stage, name: string): Promise<void> {
  await writeFile(join(stage.folder, 'state', `gate-${name}`), '');
}
