/** The examples in the documents about rules are files that the program reads. */

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { parseRulesFile } from './rules-file.ts';

const DOCS = path.join(import.meta.dirname, '../../../docs');

it.each(['rules.md', 'your-repository.md'])('every example in docs/%s can be read', (document) => {
  const text = readFileSync(path.join(DOCS, document), 'utf8');
  const examples = [...text.matchAll(/^```yaml\n([\s\S]*?)^```/gm)].map(([, example = '']) => example);
  expect(examples.length).toBeGreaterThan(0);
  expect(examples.map(parseRulesFile).filter(({ ok }) => !ok)).toEqual([]);
});
