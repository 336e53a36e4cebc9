/** What is written about the configuration agrees with the variables that the program reads. */

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { configurationDocument } from '../bin/configuration-document.ts';
import { rulesSchemaDocument } from '../bin/rules-schema.ts';
import { VARIABLES } from './config.ts';

const ROOT = path.join(import.meta.dirname, '..');

function read(file: string): string {
  return readFileSync(path.join(ROOT, file), 'utf8');
}

describe('the words about the configuration', () => {
  it('docs/configuration.md is what npm run docs writes', () => {
    expect(read('docs/configuration.md')).toBe(configurationDocument());
  });

  it('docs/iac-runner.schema.json is what npm run docs writes', () => {
    expect(read('docs/iac-runner.schema.json')).toBe(rulesSchemaDocument());
  });

  it('docs/configuration.md has one row for each variable', () => {
    const rows = read('docs/configuration.md').match(/^\| `[A-Z_]+` \|/gm) ?? [];
    expect(rows.map((row) => row.slice(3, -3))).toEqual(Object.keys(VARIABLES));
  });

  it('.env.example names only variables that are read or passed to tasks', () => {
    const named = [...read('.env.example').matchAll(/^#? ?([A-Z][A-Z_]*)=/gm)].map(([, name]) => name ?? '');
    const known = new Set([...Object.keys(VARIABLES), ...VARIABLES.TASK_ENV.default.split(',')]);
    expect(named.filter((name) => !known.has(name))).toEqual([]);
    expect(named).toContain('WEBHOOK_SECRET');
  });
});
