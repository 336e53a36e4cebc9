/** docs/reliability.md names a test for every fault, and each of these tests exists. */

import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = path.join(import.meta.dirname, '..');

/** Everything about receiving, storing, processes, git, secrets, GitHub, plans and Redis. */
const NUMBERS = [
  ...Array.from({ length: 51 }, (_, index) => `F${index + 1}`),
  ...['F14b', 'F32b', 'F40b', 'F40c', 'F48b'],
];

function read(file: string): string {
  return readFileSync(path.join(ROOT, file), 'utf8');
}

interface Row {
  number: string;
  cells: string[];
  files: string[];
}

function rows(): Row[] {
  return [...read('docs/reliability.md').matchAll(/^\| (F\d+[bc]?) \| (.+) \|$/gm)].map(
    ([, number = '', rest = '']) => {
      const cells = rest.split(' | ');
      const files = [...(cells.at(-1) ?? '').matchAll(/`([^`]+)`/g)].map(([, file]) => file ?? '');
      return { number, cells, files };
    },
  );
}

/** Numbers that titles in the file begin with: `F1: …`, also `F1 and F2: …`. */
function numbersIn(file: string): Set<string> {
  const titles = read(file).matchAll(/['"`]((?:F\d+[bc]?(?:, | and )?)+): /g);
  return new Set([...titles].flatMap(([, numbers]) => numbers?.match(/F\d+[bc]?/g) ?? []));
}

describe('docs/reliability.md', () => {
  it('has one row for each fault, with words, what is seen, and tests', () => {
    expect(
      rows()
        .map(({ number }) => number)
        .sort(),
    ).toEqual(NUMBERS.toSorted());
    expect(rows().filter(({ cells, files }) => cells.length !== 3 || files.length === 0)).toEqual([]);
  });

  it('names only files with a test whose title begins with the number', () => {
    const wrong = rows().flatMap(({ number, files }) =>
      files
        .filter((file) => !existsSync(path.join(ROOT, file)) || !numbersIn(file).has(number))
        .map((file) => `${number}: ${file}`),
    );
    expect(wrong).toEqual([]);
  });

  it('names only files that exist beside the promises', () => {
    const named = [...read('docs/reliability.md').matchAll(/`((?:src|e2e)\/[^`]+\.ts)`/g)];
    expect(named.flatMap(([, file]) => (file && existsSync(path.join(ROOT, file)) ? [] : [file]))).toEqual(
      [],
    );
  });
});
