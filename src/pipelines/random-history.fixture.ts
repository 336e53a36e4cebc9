/** For tests: random histories of a platform repository, written by one git fast-import each. */

export interface RandomHistory {
  /** Stream for `git fast-import` into an empty bare repository. */
  stream: string;
  /** Marks of the commits: the branch at first, after more, and the head of a pull request on the way. */
  marks: { start: number; later: number; pull: number };
}

type Files = ReadonlyMap<string, { mode: string; content: string }>;

/** The same numbers from 0 to 1 for the same seed (mulberry32). */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Edits, renames, deletions, new services, shared files, rules, reverts, side branches and their merges. */
export function randomHistory(random: () => number): RandomHistory {
  const stream: string[] = [];
  const trees: { mark: number; files: Files }[] = [];
  const pick = <T>(list: readonly T[]): T => {
    const picked = list[Math.floor(random() * list.length)];
    if (picked === undefined) throw new Error('Nothing to pick from.');
    return picked;
  };

  function commit(ref: string, files: Files, parents: readonly number[]): number {
    const mark = trees.length + 1;
    const [first, ...others] = parents;
    stream.push(`reset ${ref}`, ...(first === undefined ? [] : [`from :${first}`]), '');
    stream.push(`commit ${ref}`, `mark :${mark}`, 'committer Dev <dev@example.com> 1767600000 +0000');
    stream.push(...data(`Commit ${mark}`), ...(first === undefined ? [] : [`from :${first}`]));
    stream.push(...others.map((other) => `merge :${other}`), 'deleteall');
    for (const [path, { mode, content }] of files) stream.push(`M ${mode} inline ${path}`, ...data(content));
    stream.push('');
    trees.push({ mark, files });
    return mark;
  }

  const treeOf = (mark: number): Files => trees[mark - 1]?.files ?? new Map();
  const grow = (ref: string, from: number, mayBreak: boolean): number => {
    let files = treeOf(from);
    for (let changes = 1 + Math.floor(random() * 3); changes > 0; changes -= 1) {
      files = change(files, { random, pick, mayBreak, earlier: trees.map((tree) => tree.files) });
    }
    return commit(ref, files, [from]);
  };

  /** Applies the changes of a side branch to the branch. */
  function merge(ref: string, into: number, side: number, fork: number): number {
    const files = new Map(treeOf(into));
    for (const path of new Set([...treeOf(fork).keys(), ...treeOf(side).keys()])) {
      const [was, is] = [treeOf(fork).get(path), treeOf(side).get(path)];
      if (was?.content === is?.content && was?.mode === is?.mode) continue;
      if (is) files.set(path, is);
      else files.delete(path);
    }
    return commit(ref, files, [into, side]);
  }

  let start = commit('refs/heads/main', firstFiles(), []);
  for (let steps = Math.floor(random() * 3); steps > 0; steps -= 1) {
    start = grow('refs/heads/main', start, false);
  }
  let later = start;
  let fork = start;
  for (let steps = 1 + Math.floor(random() * 4); steps > 0; steps -= 1) {
    if (random() < 0.3) {
      const side = grow('refs/heads/side', later, true);
      const main = random() < 0.5 ? grow('refs/heads/main', later, true) : later;
      later = merge('refs/heads/main', main, side, later);
    } else later = grow('refs/heads/main', later, true);
    if (random() < 0.4) fork = later;
  }
  const pull = grow('refs/pull/1/head', fork, true);
  return { stream: `${stream.join('\n')}\ndone\n`, marks: { start, later, pull } };
}

function data(text: string): string[] {
  return [`data ${Buffer.byteLength(text)}`, text];
}

const FILE = '100644';

function firstFiles(): Files {
  const files = ['a', 'b', 'c', 'd', 'e'].flatMap((name, index) =>
    serviceFiles(`platform/0${1 + (index % 3)}.${name}`),
  );
  const others = ['libs/one.py', 'libs/two/deep.py', 'tasks.py', 'README.md', 'bootstrap/01.base/deploy.py'];
  return new Map([...files, ...others.map((path) => [path, { mode: FILE, content: path }] as const)]);
}

function serviceFiles(folder: string): [string, { mode: string; content: string }][] {
  return ['deploy.py', 'compose.yaml', 'conf/a b.yml'].map((name) => [
    `${folder}/${name}`,
    { mode: FILE, content: `${folder}/${name}` },
  ]);
}

interface Chance {
  random: () => number;
  pick: <T>(list: readonly T[]) => T;
  /** True if a change may make the repository wrong: broken rules, an id claimed twice. */
  mayBreak: boolean;
  earlier: readonly Files[];
}

function change(before: Files, { random, pick, mayBreak, earlier }: Chance): Files {
  const files = new Map(before);
  const folders = [...new Set([...files.keys()].flatMap((path) => /^platform\/\d+\.[^/]+/.exec(path) ?? []))];
  const paths = [...files.keys()].filter((path) => path !== RULES);
  const number = Math.floor(random() * 1e6);
  const write = (path: string, mode = FILE) => files.set(path, { mode, content: `${path} ${number}` });
  const move = (from: string, to: string, keep = false) => {
    for (const [path, file] of before) {
      if (!path.startsWith(`${from}/`)) continue;
      files.set(`${to}${path.slice(from.length)}`, file);
      if (!keep) files.delete(path);
    }
  };
  const folder = folders.length > 0 ? pick(folders) : 'platform/01.a';
  const name = folder.slice(folder.indexOf('.') + 1);
  const kinds: readonly (() => void)[] = [
    () => write(pick(paths)),
    () => write(pick(paths)),
    () => write(pick(paths)),
    () => write(`${folder}/new ${number % 7}.yml`),
    () => void files.delete(pick(paths)),
    () => move(folder, `platform/01.removed${number}`),
    () => move(folder, `platform/0${(number % 8) + 1}.${name}`),
    () => move(folder, `platform/02.${pick(['a', 'b', 'f', 'g', 'h'])}${number % 3}`),
    () => void serviceFiles(`platform/04.n${number % 9}`).map(([path, file]) => files.set(path, file)),
    () => void paths.filter((path) => path.startsWith(`${folder}/`)).map((path) => files.delete(path)),
    () => write(pick(['libs/one.py', 'libs/three.py', 'libs/two/more.py', 'tasks.py'])),
    () => write('README.md'),
    () => write(pick(paths), '100755'),
    () => files.set(`${folder}/deploy.py`, { mode: '120000', content: 'compose.yaml' }),
    () => files.set(RULES, { mode: FILE, content: pick(GOOD_RULES) }),
    () => void files.delete(RULES),
    () => {
      files.clear();
      for (const [path, file] of pick(earlier)) files.set(path, file);
    },
    ...(mayBreak
      ? [
          () => move(folder, `platform/09.${name}`, true),
          () => void files.set(RULES, { mode: FILE, content: 'needs:\n  platform/a: nonsense\n' }),
        ]
      : []),
  ];
  pick(kinds)();
  // A commit that changes nothing is one, too, but a tree without any file is none.
  return files.size > 0 ? files : before;
}

const RULES = '.iac-runner.yaml';

const GOOD_RULES: readonly string[] = [
  'shared:\n  - tasks.py\n  - path: libs\n    services: [platform/a, platform/b]\n',
  'shared:\n  - libs\n  - path: libs/two\n    services: [platform/c]\n',
  'exclude: [platform/b, platform/d]\n',
  'needs:\n  platform/c: [platform/a]\n  platform/d: [platform/b, platform/c]\n',
  'services:\n  - match: platform/{nn}.{service}/compose.yaml\n    id: other/{service}\n    task: "{service}.sync"\n',
  '# nothing of its own\n',
  'ignore: ["**/a b.yml", "libs/one.py"]\n',
  'ignore: ["**/*.yml"]\nshared:\n  - path: "libs/**"\n    services: all\n  - path: libs/two/*\n    services: [platform/c]\n',
  'services:\n  - match: "**/{service}/deploy.py"\n    run: [make, "{folder}"]\n',
  'services:\n  - match: platform/{nn}.{service}/deploy.py\n    id: platform/{service}\n    run: [make]\n    inputs: ["{folder}/**", "!**/*.yml", libs/one.py]\n',
  'services:\n  - match: "platform/{folder_name}/{service}.py"\n    id: "{folder_name}/{service}"\n    task: deploy\n    verify: ["true"]\n',
];
