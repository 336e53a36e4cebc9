/** Tests that are skipped if something is missing, with the reason in their title. */

import { describe } from 'vitest';

/** Describes tests like `describe`. If there is a reason, they are skipped. */
export function describeUnless(reason: string | null, title: string, tests: () => void): void {
  describe.skipIf(reason !== null)(reason === null ? title : `${title} (skipped: ${reason})`, tests);
}
