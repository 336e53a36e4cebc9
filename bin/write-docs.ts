/** npm run docs: writes the documents that are made from the source. */

import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { configurationDocument } from './configuration-document.ts';
import { rulesSchemaDocument } from './rules-schema.ts';

const DOCUMENTS = {
  'configuration.md': configurationDocument,
  'iac-runner.schema.json': rulesSchemaDocument,
};

for (const [name, make] of Object.entries(DOCUMENTS)) {
  writeFileSync(path.join(import.meta.dirname, '..', 'docs', name), make());
  process.stdout.write(`Wrote docs/${name}\n`);
}
