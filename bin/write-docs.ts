/** npm run docs: writes the documents that are made from the source. */

import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { configurationDocument } from './configuration-document.ts';

const file = path.join(import.meta.dirname, '..', 'docs', 'configuration.md');
writeFileSync(file, configurationDocument());
process.stdout.write('Wrote docs/configuration.md\n');
