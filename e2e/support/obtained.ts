/** The outside programs as a test asks for them. */

import { inject, type TestContext } from 'vitest';

/** The argv of invoke. Throws the line that says what to type: without it nothing is proved end to end. */
export function obtainedInvoke(): string[] {
  const invoke = inject('invoke');
  if ('missing' in invoke) throw new Error(invoke.missing);
  return invoke.argv;
}

/** The path of Chromium; skips the test by name where there is none. */
export function chromiumOrSkip(context: TestContext): string {
  const chromium = inject('chromium');
  if ('missing' in chromium) return context.skip(chromium.missing);
  return chromium.executable;
}
