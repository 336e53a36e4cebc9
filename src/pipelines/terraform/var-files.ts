/** Files of variables that a request names: only those of the checkout, wherever links point. */

import { describeError } from '../../errors.ts';
import { resolveInside } from '../../git/read/inside.ts';
import { finishStep, type StepContext, StepFailed } from '../tool-step.ts';

/** Real paths, in the order given; names are relative to the root module's folder. Throws StepFailed. */
export async function resolveVarFiles(
  names: readonly string[],
  context: StepContext,
  { cwd, checkout }: { cwd: string; checkout: string },
): Promise<string[]> {
  const files: string[] = [];
  for (const name of names) {
    try {
      files.push(await resolveInside(checkout, cwd, name));
    } catch (error) {
      const message = `tfvars_files: ${describeError(error)}`;
      await finishStep(context, 'plan', 'blocked', message);
      throw new StepFailed({ state: 'failed', reason: 'request_invalid', message });
    }
  }
  return files;
}
