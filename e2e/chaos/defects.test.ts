/** The planted defects must fit the program as it is, or `npm run chaos:planted` proves nothing any more. */

import { join } from 'node:path';
import { expect, it } from 'vitest';
import { makeTemporaryFolder, removeFolder } from '../support/temporary-folder.ts';
import { DEFECTS, plant } from './defects.ts';

it.for(DEFECTS)('the planted defect $name still applies', async (defect) => {
  const folder = await makeTemporaryFolder('planted');
  try {
    expect(await plant(defect, join(folder, defect.name))).toBe(join(folder, defect.name, 'src'));
  } finally {
    await removeFolder(folder);
  }
});
