/** A stage that ends with the test that set it, and leaves its folder behind when that test failed. */

import { onTestFinished } from 'vitest';
import { expectNoViolations } from './local-github.ts';
import { obtainedInvoke } from './obtained.ts';
import { type Stage, setStage } from './stage.ts';

/** Call it inside a test. The test also fails when GitHub's rules were broken in it. */
export async function setTestStage(name: string): Promise<Stage> {
  const stage = await setStage({ name, invoke: obtainedInvoke() });
  onTestFinished(async ({ task }) => {
    const failed = task.result?.state === 'fail';
    await stage.close({ keep: failed });
    if (failed) console.log(`The folder of the failed test is kept: ${stage.folder}`);
    expectNoViolations(stage.github);
  });
  return stage;
}
