/** The built program, which is what users install. The global set-up of the tests builds it. */

import { join } from 'node:path';
import { PROJECT_ROOT } from './project-root.ts';

export const CLI = join(PROJECT_ROOT, 'dist/cli.js');
