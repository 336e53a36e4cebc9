/** One stage and one server for all tests of a file that do not disturb each other. */

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

/**
 * Creates the stage for the tests of a file. Call it beside the tests; they get the stage from the returned
 * function. The folder is kept if a test failed.
 */
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

/** Opens the gate for tasks that wait at it; see waitAtGate. */
export async function openGate(stage: Stage, name: string): Promise<void> {
  await writeFile(join(stage.folder, 'state', `gate-${name}`), '');
}
