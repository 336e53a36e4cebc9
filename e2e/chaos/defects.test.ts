/** A planted defect proves nothing if its place in the code does not exist any more. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PROJECT_ROOT } from '../support/project-root.ts';
import { DEFECTS } from './defects.ts';

describe('A planted defect', () => {
  it.each(DEFECTS)('finds each of its places once: $name', ({ patches }) => {
    for (const { file, from } of patches) {
      const text = readFileSync(join(PROJECT_ROOT, 'src', file), 'utf8');
      expect([file, text.split(from).length - 1]).toEqual([file, 1]);
    }
  });
});
