/** For tests: random histories of repositories with random layouts and rules, each written by one git fast-import. */

import { RULES_FILE } from '../rules/service-rules.ts';
import type { Chance } from './chance.fixture.ts';
import { changed } from './changes.fixture.ts';
import { type Files, put, type RandomFile, REGULAR, SUBMODULE } from './files.fixture.ts';
import { filesAt, LAYOUTS, type RandomLayout } from './layouts.fixture.ts';
import { isSound, randomRules } from './rules.fixture.ts';

export interface RandomHistory {
  layout: RandomLayout;
  /** Stream for `git fast-import` into an empty bare repository. */
  stream: string;
  /** Marks of the commits: the branch at first, after more, and the head of a pull request on the way. */
  marks: { start: number; later: number; pull: number };
}

/** Edits, renames, deletions, new services, shared files, rules, reverts, side branches and their merges. */
export function randomHistory(chance: Chance): RandomHistory {
  const layout = chance.pick(LAYOUTS);
  const { commit, treeOf, trees, stream } = createStream();
  const grow = (ref: string, from: number, mayBreak: boolean): number => {
    let files = treeOf(from);
    for (let changes = 1 + chance.below(3); changes > 0; changes -= 1) {
      const next = changed(files, { chance, layout, mayBreak, earlier: trees });
      if (mayBreak || isSound(next)) files = next;
    }
    return commit(ref, files, [from]);
  };
  let start = commit('refs/heads/main', firstFiles(chance, layout), []);
  for (let steps = chance.below(3); steps > 0; steps -= 1) start = grow('refs/heads/main', start, false);
  let later = start;
  let fork = start;
  for (let steps = 1 + chance.below(4); steps > 0; steps -= 1) {
    if (chance.happens(0.3)) {
      const side = grow('refs/heads/side', later, true);
      const main = chance.happens(0.5) ? grow('refs/heads/main', later, true) : later;
      const merged = mergedFiles(treeOf(main), treeOf(side), treeOf(later));
      later = commit('refs/heads/main', merged, [main, side]);
    } else later = grow('refs/heads/main', later, true);
    if (chance.happens(0.4)) fork = later;
  }
  const pull = grow('refs/pull/1/head', fork, true);
  return { layout, stream: `${stream.join('\n')}\ndone\n`, marks: { start, later, pull } };
}

function createStream() {
  const stream: string[] = [];
  const trees: Files[] = [];
  return {
    stream,
    trees,
    treeOf: (mark: number): Files => trees[mark - 1] ?? new Map(),
    /** Returns the mark of the commit. */
    commit(ref: string, files: Files, [first, ...others]: readonly number[]): number {
      const mark = trees.length + 1;
      stream.push(`reset ${ref}`, ...(first === undefined ? [] : [`from :${first}`]), '');
      stream.push(`commit ${ref}`, `mark :${mark}`, 'committer Dev <dev@example.com> 1767600000 +0000');
      stream.push(...data(`Commit ${mark}`), ...(first === undefined ? [] : [`from :${first}`]));
      stream.push(...others.map((other) => `merge :${other}`), 'deleteall');
      for (const [path, { mode, content }] of files) {
        if (mode === SUBMODULE) stream.push(`M ${mode} ${content} ${path}`);
        else stream.push(`M ${mode} inline ${path}`, ...data(content));
      }
      stream.push('');
      trees.push(files);
      return mark;
    },
  };
}

function data(text: string): string[] {
  return [`data ${Buffer.byteLength(text)}`, text];
}

/** Applies the changes of a side branch to the branch. */
function mergedFiles(main: Files, side: Files, fork: Files): Files {
  const files = new Map(main);
  for (const path of new Set([...fork.keys(), ...side.keys()])) {
    const [was, is] = [fork.get(path), side.get(path)];
    if (was?.content === is?.content && was?.mode === is?.mode) continue;
    if (is) put(files, path, is);
    else files.delete(path);
  }
  return files.size > 0 ? files : main;
}

const OTHERS = ['libs/one.txt', 'libs/two/deep.txt', 'README.md', 'docs/a.md', 'more.txt'];

function firstFiles(chance: Chance, layout: RandomLayout): Files {
  const files = new Map<string, RandomFile>();
  const services = ['a', 'b', 'c', 'd', 'e'].flatMap((name, number) =>
    filesAt(layout, layout.placeOf(name, number)),
  );
  for (const path of [...services, layout.shared, ...OTHERS]) {
    files.set(path, { mode: REGULAR, content: path });
  }
  if (layout.hasBuiltInRules && chance.happens(0.3)) return files;
  for (;;) {
    const content = randomRules(chance, layout, files);
    const described = new Map([...files, [RULES_FILE, { mode: REGULAR, content }]]);
    if (isSound(described)) return described;
  }
}
