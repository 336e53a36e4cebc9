/** The external programs for a test. */

import { inject, type TestContext } from 'vitest';

/**
 * Returns the argv of invoke. Throws the line that says which command to run, because no end-to-end test works
 * without invoke.
 */
export function obtainedInvoke(): string[] {
  const invoke = inject('invoke');
  if ('missing' in invoke) throw new Error(invoke.missing);
  return invoke.argv;
}

/** Returns the path of Chromium. Skips the test, with the reason, if there is none. */
export function chromiumOrSkip(context: TestContext): string {
  const chromium = inject('chromium');
  if ('missing' in chromium) return context.skip(chromium.missing);
  return chromium.executable;
}
