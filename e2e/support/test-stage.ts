/** A stage that ends with its test, and keeps its folder if the test failed. */

import { onTestFinished } from 'vitest';
import { expectNoViolations } from './local-github.ts';
import { obtainedInvoke } from './obtained.ts';
import { type Stage, setStage } from './stage.ts';

/** Call it in a test. The test also fails if a request broke GitHub's rules. */
export async function setTestStage(name: string, source?: string): Promise<Stage> {
  const stage = await setStage({
    name,
    invoke: obtainedInvoke(),
    ...(source === undefined ? {} : { source }),
  });
  onTestFinished(async ({ task }) => {
    const failed = task.result?.state === 'fail';
    await stage.close({ keep: failed });
    if (failed) console.log(`The folder of the failed test is kept: ${stage.folder}`);
    expectNoViolations(stage.github);
  });
  return stage;
}
