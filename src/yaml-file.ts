/** Reads YAML files that people write by a schema, with the line and field of every mistake. */

import { isCollection, isNode, isPair, isScalar, LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';

export interface FileProblem {
  /** The first line is 1. 0 stands for the whole file. */
  line: number;
  /** For example `services.0.match`, or '' for the file itself. */
  field: string;
  message: string;
}

type ParsedFile<Value> =
  | {
      ok: true;
      value: Value;
      /** For mistakes that the schema cannot find. */
      problemAt(path: readonly PropertyKey[], message: string): FileProblem;
    }
  | { ok: false; problems: FileProblem[] };

type YamlDocument = ReturnType<typeof parseDocument>;

const MAX_BYTES = 256 * 1024;
/** Rules need five levels. */
const MAX_DEPTH = 50;
const MAX_PROBLEMS = 20;
const MAX_SHOWN = 300;

/** Never throws. Each problem has a line and a field. An empty file counts as `{}`. */
export function parseYamlFile<Schema extends z.ZodType>(
  text: string,
  schema: Schema,
): ParsedFile<z.output<Schema>> {
  if (text.length > MAX_BYTES) return wrong([{ line: 0, field: '', message: 'it is larger than 256 KiB' }]);
  const lines = new LineCounter();
  const document = readDocument(text, lines);
  if (document === null) return wrong([{ line: 0, field: '', message: 'it is nested too deeply' }]);
  if (document.errors.length > 0) {
    const errors = document.errors.slice(0, MAX_PROBLEMS);
    return wrong(
      errors.map((error) => ({
        line: lines.linePos(error.pos[0]).line,
        field: '',
        message: shortened(withoutContent(error)),
      })),
    );
  }
  const problem = refused(document);
  if (problem) return wrong([{ line: lineAt(problem.node, lines), field: '', message: problem.message }]);
  const problemAt = (path: readonly PropertyKey[], message: string): FileProblem => ({
    line: lineOf(document, lines, path),
    field: shortened(path.join('.')),
    message: shortened(message),
  });
  const value = toValue(document);
  if (value === undefined) return wrong([{ line: 0, field: '', message: 'aliases (*name) are not allowed' }]);
  const result = schema.safeParse(value ?? {});
  if (result.success) return { ok: true, value: result.data, problemAt };
  const issues = result.error.issues.slice(0, MAX_PROBLEMS).flatMap(placesOf);
  return wrong(issues.map(({ path, message }) => problemAt(path, message)));
}

/** Each unknown key is a problem at its own place. */
function placesOf(issue: z.core.$ZodIssue): { path: PropertyKey[]; message: string }[] {
  const { code, path, message } = issue;
  if (code !== 'unrecognized_keys') return [{ path, message }];
  return issue.keys.slice(0, MAX_PROBLEMS).map((key) => ({ path: [...path, key], message }));
}

/** Writes a problem as one line for a person: `.iac-runner.yaml line 3, services.0.match: expected …`. */
export function describeProblem(file: string, { line, field, message }: FileProblem): string {
  return `${file}${line > 0 ? ` line ${line}` : ''}${field ? `, ${field}` : ''}: ${message}`;
}

/** Returns null if the text is nested too deeply for the recursive parser. */
function readDocument(text: string, lineCounter: LineCounter): YamlDocument | null {
  try {
    // uniqueKeys compares each key with all others of its map, which takes minutes for many keys.
    return parseDocument(text, { lineCounter, prettyErrors: false, uniqueKeys: false });
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

/**
 * Returns the first problem that no schema can find, or null. Call it before the document becomes a value, because that
 * writes each key that is no scalar as text, again for each level. It is not recursive, so it can report any depth.
 */
function refused(document: YamlDocument): { node: unknown; message: string } | null {
  const waiting: { node: unknown; depth: number }[] = [{ node: document.contents, depth: 0 }];
  // The loop also visits the nodes that it adds.
  for (const { node, depth } of waiting) {
    if (hasUnknownTag(node)) return { node, message: NO_TAGS };
    if (!isCollection(node)) continue;
    if (depth >= MAX_DEPTH) return { node, message: 'it is nested too deeply' };
    const seen = new Set<unknown>();
    for (const item of node.items) {
      if (!isPair(item)) {
        waiting.push({ node: item, depth: depth + 1 });
        continue;
      }
      const { key, value } = item;
      if (key !== null && !isScalar(key)) return { node: key, message: 'Map keys must be plain text' };
      const name = key?.value ?? null;
      if (seen.has(name)) return { node: key, message: 'Map keys must be unique' };
      // Schemas leave this key out without a word.
      if (name === '__proto__') return { node: key, message: 'Map keys must not be __proto__' };
      seen.add(name);
      waiting.push({ node: value, depth: depth + 1 });
    }
  }
  return null;
}

const NO_TAGS = 'Write text that begins with ! in quotes';
const OWN_MESSAGES: Readonly<Record<string, string>> = {
  BAD_DIRECTIVE: 'It must not begin with %',
  MULTIPLE_DOCS: 'It must be one document, without a second one after ---',
  RESOURCE_EXHAUSTION: 'it is nested too deeply',
  TAG_RESOLVE_FAILED: NO_TAGS,
};

/** The parser quotes what it does not expect, and that may be a secret. */
function withoutContent({ code, message }: YamlDocument['errors'][number]): string {
  const own = OWN_MESSAGES[code];
  if (own !== undefined) return own;
  return code === 'UNEXPECTED_TOKEN' ? message.replace(/: [\s\S]*$/, '') : message;
}

/** The parser leaves the tag out, with the text that was meant. */
function hasUnknownTag(node: unknown): boolean {
  return (
    isNode(node) && 'tag' in node && node.tag !== undefined && !node.tag.startsWith('tag:yaml.org,2002:')
  );
}

/** Keys and messages may contain the whole file. */
function shortened(text: string): string {
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

function wrong(problems: FileProblem[]): { ok: false; problems: FileProblem[] } {
  return { ok: false, problems: problems.slice(0, MAX_PROBLEMS) };
}

/** Returns undefined if there are aliases. They are refused, because a few of them can stand for gigabytes. */
function toValue(document: YamlDocument): unknown {
  try {
    return document.toJS({ maxAliasCount: 0 });
  } catch {
    return undefined;
  }
}

function lineOf(document: YamlDocument, lines: LineCounter, path: readonly PropertyKey[]): number {
  for (let length = path.length; length > 0; length -= 1) {
    const line = lineAt(document.getIn(path.slice(0, length), true), lines);
    if (line > 0) return line;
  }
  return 1;
}

/** Returns 0 if the node has no place in the file. */
function lineAt(node: unknown, lines: LineCounter): number {
  if (!node || typeof node !== 'object' || !('range' in node) || !Array.isArray(node.range)) return 0;
  return lines.linePos(Number(node.range[0])).line;
}
