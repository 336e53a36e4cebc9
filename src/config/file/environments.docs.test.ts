/** The examples in the documents about environments are files with which a server starts, and fit the published schema. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { configFolder } from './config-file.fixture.ts';

const { write, problems } = configFolder();
const DOCS = join(import.meta.dirname, '../../../docs');

function read(document: string): string {
  return readFileSync(join(DOCS, document), 'utf8');
}

function examplesIn(document: string): string[] {
  return [...read(document).matchAll(/^```yaml\n([\s\S]*?)^```/gm)].map(([, example = '']) => example);
}

/** The same example, whose files of secrets exist on this machine. */
function withFiles(example: string): string {
  return example.replace(/\/run\/secrets\/([\w-]+)/g, (_path, name: string) => write(name, 'a-secret\n'));
}

/** Each variable that the example names has a value. */
function variablesOf(example: string): Record<string, string> {
  const names = [...example.matchAll(/\{ env: (\w+) \}/g)].map(([, name = '']) => name);
  return Object.fromEntries(names.map((name) => [name, 'a-secret']));
}

describe.each(['configuration.md', 'environments.md'])('Every example in docs/%s', (document) => {
  it('starts a server', () => {
    expect(examplesIn(document).length).toBeGreaterThan(0);
    for (const example of examplesIn(document)) {
      expect(problems(withFiles(example), variablesOf(example))).toEqual([]);
    }
  });

  it('fits docs/config.schema.json', () => {
    const validate = new Ajv2020().compile(JSON.parse(read('config.schema.json')));
    for (const example of examplesIn(document)) {
      validate(parse(example));
      expect(validate.errors).toBeNull();
    }
    expect(validate({ repositories: [{ url: '/srv/a', environment: [] }] })).toBe(false);
  });
});

describe('docs/environments.md', () => {
  it('names every field of the file', () => {
    const fields = Object.keys(schemaOf('repositories', 'environments')).toSorted();
    const repository = Object.keys(schemaOf('repositories')).toSorted();
    const rows = [...read('environments.md').matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name);
    expect(rows.toSorted()).toEqual([...fields, ...repository].toSorted());
  });

  it('names the mistakes as the program does', () => {
    const text = `repositories:
  - url: https://github.com/acme/platform.git
    environments:
      - name: staging
        follow: "a..b"
`;
    const across = text.replace(
      '"a..b"',
      'main\n        url: https://x\n      - name: production\n        promote: stagging',
    );
    const [shown = ''] = /^```\n(CONFIG_FILE[\s\S]*?)^```/m.exec(read('environments.md'))?.slice(1) ?? [];
    expect([...problems(text), ...problems(across)]).toEqual(shown.trim().split('\n'));
  });
});

/** The properties of the items of a list in the schema. */
function schemaOf(...lists: string[]): Record<string, unknown> {
  let fields = JSON.parse(read('config.schema.json')).properties;
  for (const list of lists) fields = fields[list].items.properties;
  return fields;
}
