/** The location of the checkout, for code that starts programs or reads files of it. */

import { fileURLToPath } from 'node:url';

/** The absolute path of the repository, without a slash at the end. */
export const PROJECT_ROOT = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');
