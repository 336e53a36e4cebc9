/** The captured output of a program: masked for people, and unmasked for programs. */

import { eachInTurns } from '../event-loop.ts';
import { createRedactor } from '../process/output/redact.ts';

export interface CapturedText {
  /** For parsers, and for files that nobody sees. Every part of it that people see must go through `mask` or `masked`. */
  unmasked: string;
  /** The whole text, masked, to be shown and stored. */
  shown(): Promise<string>;
  mask(text: string): string;
  /** Masks all strings, numbers and keys of a value that was parsed from the text. Changes the value in place. */
  masked(value: unknown): Promise<unknown>;
}

export function createCapturedText(text: string, secrets: Iterable<string>): CapturedText {
  const mask = createRedactor(secrets);
  return {
    unmasked: text,
    mask,
    async shown() {
      if (mask.longestLength === 0) return text;
      const lines: string[] = [];
      // Every form of a secret fits into one line.
      await eachInTurns(text.split('\n'), (line) => lines.push(mask(line)));
      return lines.join('\n');
    },
    async masked(value) {
      const root = { value };
      if (mask.longestLength > 0) await eachInTurns(objectsIn(root), (object) => maskEntries(object, mask));
      return root.value;
    },
  };
}

/** Yields each object after its entries were read. It is not recursive, because values may be nested deeply. */
function* objectsIn(root: object): Generator<object> {
  const left: unknown[] = [root];
  while (left.length > 0) {
    const next = left.pop();
    if (typeof next !== 'object' || next === null) continue;
    for (const inner of Object.values(next)) {
      if (typeof inner === 'object' && inner !== null) left.push(inner);
    }
    yield next;
  }
}

function maskEntries(object: object, mask: (text: string) => string): void {
  for (const [key, value] of Object.entries(object) as [string, unknown][]) {
    const isText = typeof value === 'string' || typeof value === 'number';
    const text = isText ? mask(String(value)) : '';
    const shown = isText && text !== String(value) ? text : value;
    const shownKey = Array.isArray(object) ? key : mask(key);
    if (shownKey === key && shown === value) continue;
    if (shownKey !== key) Reflect.deleteProperty(object, key);
    // An assignment would be wrong, because a key may be `__proto__`.
    Object.defineProperty(object, shownKey, {
      value: shown,
      enumerable: true,
      writable: true,
      configurable: true,
    });
  }
}
