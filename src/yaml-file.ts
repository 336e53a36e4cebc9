/** YAML files that people write: read by a schema, with the line and field of every mistake. */

import { LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';

export interface FileProblem {
  /** Counts from 1; 0 when the problem is the whole file's. */
  line: number;
  /** e.g. `services.0.match`, or '' for the file itself. */
  field: string;
  message: string;
}

export type ParsedFile<Value> =
  | {
      ok: true;
      value: Value;
      /** For mistakes that the schema cannot see. */
      problemAt(path: readonly PropertyKey[], message: string): FileProblem;
    }
  | { ok: false; problems: FileProblem[] };

const MAX_BYTES = 256 * 1024;
const MAX_PROBLEMS = 20;

/** Never throws; what is wrong comes with line and field. An empty file counts as `{}`. */
export function parseYamlFile<Schema extends z.ZodType>(
  text: string,
  schema: Schema,
): ParsedFile<z.output<Schema>> {
  if (text.length > MAX_BYTES) return wrong([{ line: 0, field: '', message: 'it is larger than 256 KiB' }]);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  if (document.errors.length > 0) {
    return wrong(
      document.errors.map(({ pos, message }) => ({ line: lines.linePos(pos[0]).line, field: '', message })),
    );
  }
  function problemAt(path: readonly PropertyKey[], message: string): FileProblem {
    return { line: lineOf(document, lines, path), field: path.join('.'), message };
  }
  const value = toValue(document);
  if (value === undefined) return wrong([{ line: 0, field: '', message: 'aliases (*name) are not allowed' }]);
  const result = schema.safeParse(value ?? {});
  if (result.success) return { ok: true, value: result.data, problemAt };
  return wrong(result.error.issues.map(({ path, message }) => problemAt(path, message)));
}

/** One line for a person: `.iac-runner.yaml line 3, services.0.match: expected …`. */
export function describeProblem(file: string, { line, field, message }: FileProblem): string {
  return `${file}${line > 0 ? ` line ${line}` : ''}${field ? `, ${field}` : ''}: ${message}`;
}

function wrong(problems: FileProblem[]): { ok: false; problems: FileProblem[] } {
  return { ok: false, problems: problems.slice(0, MAX_PROBLEMS) };
}

/** Undefined when there are aliases, which are refused: a few of them can stand for gigabytes. */
function toValue(document: ReturnType<typeof parseDocument>): unknown {
  try {
    return document.toJS({ maxAliasCount: 0 });
  } catch {
    return undefined;
  }
}

function lineOf(
  document: ReturnType<typeof parseDocument>,
  lines: LineCounter,
  path: readonly PropertyKey[],
): number {
  for (let length = path.length; length > 0; length -= 1) {
    const node = document.getIn(path.slice(0, length), true);
    if (node && typeof node === 'object' && 'range' in node && Array.isArray(node.range)) {
      return lines.linePos(Number(node.range[0])).line;
    }
  }
  return 1;
}
