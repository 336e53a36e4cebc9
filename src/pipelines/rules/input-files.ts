/** Digests of the files that services depend on, for services that do not depend on exactly the tree of a folder. */

import { hash } from 'node:crypto';
import type { TreeEntry } from '../../git/own/mirror.ts';
import { compilePatterns, createPatternCompiler, type PathPatterns } from './patterns/path-patterns.ts';
import { createPathTree } from './patterns/path-tree.ts';
import { bookOf } from './rule-book.ts';
import type { Rules, Service } from './service-rules.ts';
import { inputsPatternsOf } from './service-texts.ts';
import { lineOf } from './shared-files.ts';

/** Finds the services that depend on a path. The path may have been deleted. */
export type DependentsOf = (path: string) => Service[];

interface InputSet {
  patterns: PathPatterns;
  services: Service[];
}

/** The inputs of a service: its patterns, or null for its folder. */
function keyOf(service: Service): string {
  return JSON.stringify(inputsPatternsOf(service) ?? service.folder);
}

/** Services with the same inputs are in one set, because a rule without placeholders gives all of them the same. */
function inputSets(services: readonly Service[]): InputSet[] {
  const compile = createPatternCompiler();
  return [...Map.groupBy(services, keyOf).values()].map((group) => {
    const [{ folder } = { folder: '' }] = group;
    const patterns = group[0] && inputsPatternsOf(group[0]);
    return {
      patterns: patterns ? compilePatterns(patterns, compile) : everythingIn(folder),
      services: group,
    };
  });
}

function everythingIn(folder: string): PathPatterns {
  if (folder === '.') return { roots: [''], match: () => true };
  const depth = folder.split('/').length;
  // The set is only looked at for paths below its root.
  return { roots: [folder], match: (path) => path.length > depth };
}

/** Returns a function that finds the sets that contain a path, in time proportional to the sets with plain folders above it. */
function createSetFinder(
  sets: readonly InputSet[],
): (path: string, segments: readonly string[]) => InputSet[] {
  const byRoot = Map.groupBy(
    sets.flatMap((set) => set.patterns.roots.map((root) => ({ root, set }))),
    ({ root }) => root,
  );
  const atRoot = byRoot.get('') ?? [];
  byRoot.delete('');
  const along = createPathTree(byRoot);
  return (path, segments) => {
    const below = along(path).flatMap(({ value }) => value);
    const candidates = new Set([...atRoot, ...below].map(({ set }) => set));
    return [...candidates].filter(({ patterns }) => patterns.match(segments));
  };
}

export function createDependentsFinder(rules: Rules, services: readonly Service[]): DependentsOf {
  const find = createSetFinder(inputSets(services));
  const { isIgnored } = bookOf(rules);
  return (path) => {
    const segments = path.split('/');
    return isIgnored(segments) ? [] : find(path, segments).flatMap((set) => set.services);
  };
}

/** True if the tree of a folder says all about the inputs of the services of these rules. */
export function dependOnFolders(rules: Rules): boolean {
  return (
    rules.ignore.length === 0 &&
    rules.services.every(({ inputs, match }) => inputs === undefined && !/^(?:\*\*\/)*[^/]+$/.test(match))
  );
}

/** Marks a digest of files, so that it never equals the id of a tree. */
const FORM = 'files:';

/** True for a digest of files, and false for the id of a tree. */
export function isDigestOfFiles(tree: string): boolean {
  return tree.startsWith(FORM);
}

/** A sum of digests, which needs the same memory for any number of files. */
interface FileSum {
  words: Uint32Array;
  /** The number of ignored files. */
  ignored: number;
}

const SUM_WORDS = 8;

function addTo({ words }: FileSum, digestOfFile: Buffer): void {
  for (let index = 0; index < SUM_WORDS; index += 1) {
    words[index] = ((words[index] ?? 0) + digestOfFile.readUInt32LE(index * 4)) >>> 0;
  }
}

/** Collects files, links and submodules in any order, each once. */
export function createInputFiles(
  rules: Rules,
  services: readonly Service[],
): { add(entry: TreeEntry): void; treeOf(service: Service, folderTree: string): string } {
  const sets = inputSets(services);
  const find = createSetFinder(sets);
  const { isIgnored } = bookOf(rules);
  const sums = new Map<InputSet, FileSum>(
    sets.map((set) => [set, { words: new Uint32Array(SUM_WORDS), ignored: 0 }]),
  );
  const setOf = new Map(sets.flatMap((set) => set.services.map((service) => [service, set] as const)));
  return {
    add(entry) {
      if (entry.type === 'tree') return;
      const segments = entry.path.split('/');
      const holding = find(entry.path, segments).flatMap((set) => sums.get(set) ?? []);
      if (holding.length === 0) return;
      if (isIgnored(segments)) {
        for (const sum of holding) sum.ignored += 1;
        return;
      }
      const digestOfFile = hash('sha256', lineOf(entry), 'buffer');
      for (const sum of holding) addTo(sum, digestOfFile);
    },
    treeOf(service, folderTree) {
      const set = setOf.get(service);
      const sum = set && sums.get(set);
      if (!sum) return folderTree;
      // The tree says the same if nothing in the folder is ignored, and it is what services without such rules have.
      if (service.rule.inputs === undefined && sum.ignored === 0 && folderTree !== '') return folderTree;
      return `${FORM}${Buffer.from(sum.words.buffer).toString('hex')}`;
    },
  };
}
