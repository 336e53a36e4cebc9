/** The documents about the configuration agree with the variables that the program reads. */

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { apiDocument } from '../bin/api-document.ts';
import { configurationDocument } from '../bin/configuration-document.ts';
import { exampleOfEnvironment } from '../bin/environment-example.ts';
import { configSchemaDocument, rulesSchemaDocument } from '../bin/json-schemas.ts';
import { TASKS } from './config/tables/tasks.ts';
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

  it('docs/config.schema.json is what npm run docs writes', () => {
    expect(read('docs/config.schema.json')).toBe(configSchemaDocument());
  });

  it('docs/api.md is what npm run docs writes', () => {
    expect(read('docs/api.md')).toBe(apiDocument());
  });

  it('docs/configuration.md has one row for each variable', () => {
    const rows = read('docs/configuration.md').match(/^\| `[A-Z_]+` \|/gm) ?? [];
    expect(rows.map((row) => row.slice(3, -3))).toEqual(Object.keys(VARIABLES));
  });

  it('.env.example is what npm run docs writes', () => {
    expect(read('.env.example')).toBe(exampleOfEnvironment());
  });

  it('.env.example has one line for each variable, and for each that tasks get by default', () => {
    const lines = [...read('.env.example').matchAll(/^(?:# )?([A-Z][A-Z_]*)=/gm)].map(([, name]) => name);
    const names = new Set([...Object.keys(VARIABLES), ...(TASKS.taskEnv.default ?? '').split(',')]);
    expect(lines.toSorted()).toEqual([...names].toSorted());
  });

  it('.env.example starts with what a server needs, and has only that filled in', () => {
    const filledIn = read('.env.example').match(/^[A-Z_]+(?==)/gm);
    expect(filledIn).toEqual([
      'WEBHOOK_SECRET',
      'GIT_REPO_URL',
      'GIT_BRANCH',
      'GITHUB_TOKEN',
      'INTERNAL_DOMAIN',
    ]);
  });
});
