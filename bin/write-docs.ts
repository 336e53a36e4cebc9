/** npm run docs: writes the documents that are made from the source. */

import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { apiDocument } from './api-document.ts';
import { configurationDocument } from './configuration-document.ts';
import { exampleOfEnvironment } from './environment-example.ts';
import { configSchemaDocument, rulesSchemaDocument } from './json-schemas.ts';

const DOCUMENTS = {
  '.env.example': exampleOfEnvironment,
  'docs/api.md': apiDocument,
  'docs/config.schema.json': configSchemaDocument,
  'docs/configuration.md': configurationDocument,
  'docs/iac-runner.schema.json': rulesSchemaDocument,
};

for (const [name, make] of Object.entries(DOCUMENTS)) {
  writeFileSync(path.join(import.meta.dirname, '..', name), make());
  process.stdout.write(`Wrote ${name}\n`);
}
