/** The rules in the form in which they are applied to paths. */

import { type Captures, compileGlob, type Glob, type SegmentMatcher } from './patterns/glob.ts';
import { compilePattern, compilePatterns, type PathPattern } from './patterns/path-patterns.ts';
import { createPathTree, type PathTree } from './patterns/path-tree.ts';
import { idOf, shapeOf } from './service-id.ts';
import {
  isInEnvironment,
  type Rules,
  type Service,
  type ServiceRule,
  type SharedPath,
} from './service-rules.ts';
import { textsDigest } from './service-texts.ts';

export interface PlacedRule {
  rule: ServiceRule;
  /** Its place in the list. The first rule that matches counts. */
  position: number;
  glob: Glob;
  /** The folders of the services, if all of them are directly in one folder. */
  level: { root: string; isFolder: SegmentMatcher; text: string } | null;
}

interface CompiledShared {
  shared: SharedPath;
  /** Its place in the list. */
  index: number;
  pattern: PathPattern;
}

export interface RuleBook {
  rules: readonly PlacedRule[];
  excluded: ReadonlySet<string>;
  /** Empty for the unnamed one. */
  environment: string;
  /** Plain file name → the rules that match such files. */
  byFileName: ReadonlyMap<string, readonly PlacedRule[]>;
  /** The rules that match files of several names. */
  ofAnyName: readonly PlacedRule[];
  /** The rules by the folder that contains the folders of their services. Empty unless a path is enough. */
  byFolders: PathTree<readonly PlacedRule[]>;
  /** The shared paths, by the file or folder outside of which they match nothing. */
  sharedByFolders: PathTree<readonly CompiledShared[]>;
  sharedAtRoot: readonly CompiledShared[];
  isIgnored(path: readonly string[]): boolean;
  /** True if a path alone tells the service that it belongs to, whether or not the service exists. */
  isPathEnough: boolean;
}

/** A book is made once for each set of rules, because every push needs it. */
const ruleBooks = new WeakMap<Rules, RuleBook>();

export function bookOf(rules: Rules): RuleBook {
  const book = ruleBooks.get(rules) ?? makeBook(rules);
  ruleBooks.set(rules, book);
  return book;
}

function makeBook(rules: Rules): RuleBook {
  const placed = rules.services.map(placeRule);
  const byFileName = Map.groupBy(placed, ({ glob }) => glob.fileName);
  const isPathEnough = areNumbered(placed);
  const byFolders = Map.groupBy(isPathEnough ? placed : [], ({ glob }) => glob.folders.join('/'));
  const shared = rules.shared.map((shared, index) => ({
    shared,
    index,
    pattern: compilePattern(shared.path),
  }));
  const sharedByFolders = Map.groupBy(shared, ({ pattern }) => pattern.root);
  const ofAnyName = byFileName.get(null) ?? [];
  byFileName.delete(null);
  const ignore = compilePatterns(rules.ignore);
  return {
    rules: placed,
    excluded: new Set(rules.exclude),
    environment: rules.environment,
    byFileName: byFileName as Map<string, PlacedRule[]>,
    ofAnyName,
    byFolders: createPathTree([...byFolders].map(([root, list]) => [root, firstOfEachFolder(list)])),
    sharedByFolders: createPathTree(sharedByFolders),
    sharedAtRoot: sharedByFolders.get('') ?? [],
    isPathEnough,
    isIgnored: rules.ignore.length === 0 ? () => false : ignore.match,
  };
}

function placeRule(rule: ServiceRule, position: number): PlacedRule {
  const glob = compileGlob(rule.match, shapeOf);
  const { segments, folders, fileName } = glob;
  const folder = segments.at(-2);
  const isLevel =
    fileName !== null &&
    folders.length > 0 &&
    segments.length === folders.length + 2 &&
    folder?.text !== '**';
  return {
    rule,
    position,
    glob,
    level: isLevel && folder ? { root: folders.join('/'), isFolder: folder.match, text: folder.text } : null,
  };
}

/**
 * True if the name of a folder alone says that it is a service: it has a number, and the folders of the services are not
 * inside of each other.
 */
function areNumbered(rules: readonly PlacedRule[]): boolean {
  const levels = rules.flatMap(({ level, rule }) =>
    level?.text.includes('{nn}') && !rule.inputs ? level : [],
  );
  const roots = new Set(levels.map(({ root }) => root));
  const above = createPathTree([...roots].map((root) => [root, root]));
  return levels.length === rules.length && [...roots].every((root) => above(root).length === 1);
}

/** Of the rules whose folders are the same, the first one counts. */
function firstOfEachFolder(rules: readonly PlacedRule[]): PlacedRule[] {
  const found = new Map<string, PlacedRule>();
  for (const placed of rules) {
    const folder = placed.glob.segments.slice(0, -1).map(({ text }) => text);
    const key = folder.join('/');
    if (!found.has(key)) found.set(key, placed);
  }
  return [...found.values()];
}

/** The service that a rule makes of a folder. `captures` are the placeholders of its `match`. */
export function serviceOf(
  { excluded, environment }: RuleBook,
  { rule }: PlacedRule,
  found: FoundFolder,
): Service {
  const { captures, folder } = found;
  const id = idOf(rule, folder, captures);
  return {
    id,
    folder,
    wave: typeof rule.wave === 'number' ? rule.wave : Number(captures.nn ?? 0),
    runs: rule.task !== null && !excluded.has(id) && isInEnvironment(rule, environment),
    rule,
    captures,
    environment,
    texts: textsDigest({ rule, captures, id, folder, environment }),
  };
}

interface FoundFolder {
  captures: Captures;
  folder: string;
}

/** The shared paths that count for a file: those with the longest plain beginning. `index` is their place in the rules. */
export function sharedPathsOf(book: RuleBook, path: string): CompiledShared[] {
  const along = book.sharedByFolders(path);
  if (along.length === 0 && book.sharedAtRoot.length === 0) return [];
  const segments = path.split('/');
  if (book.isIgnored(segments)) return [];
  let longest = -1;
  let found: CompiledShared[] = [];
  for (const candidate of [...book.sharedAtRoot, ...along.flatMap(({ value }) => value)]) {
    const { length } = candidate.pattern.beginning;
    if (length < longest || !candidate.pattern.match(segments)) continue;
    if (length > longest) found = [];
    longest = length;
    found.push(candidate);
  }
  return found;
}
