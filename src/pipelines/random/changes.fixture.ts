/** For tests: one random change of the files of a repository, or of its rules. */

import { RULES_FILE } from '../rules/service-rules.ts';
import type { Chance } from './chance.fixture.ts';
import {
  EXECUTABLE,
  type Files,
  LINK,
  move,
  put,
  type RandomFile,
  REGULAR,
  removeAll,
  SUBMODULE,
} from './files.fixture.ts';
import { filesAt, placesIn, type RandomLayout } from './layouts.fixture.ts';
import { brokenRules, mixedRules, randomRules } from './rules.fixture.ts';

export interface Change {
  chance: Chance;
  layout: RandomLayout;
  /** True if the change may make the rules wrong. */
  mayBreak: boolean;
  earlier: readonly Files[];
}

const NAMES = ['a', 'b', 'c', 'f', 'g', 'ab'];

export function changed(before: Files, change: Change): Files {
  const { chance, earlier } = change;
  const files = new Map(before);
  const kind = chance.random();
  if (kind < 0.3) chance.pick(editsOf(files, change))();
  else if (kind < 0.7) chance.pick(structuralChanges(files, change))();
  else if (kind < 0.95) changeRules(files, change);
  else return chance.pick(earlier);
  // A commit that changes nothing is a commit, but a tree without any file is none.
  return files.size > 0 ? files : before;
}

type Edits = readonly (() => void)[];

function editsOf(files: Map<string, RandomFile>, { chance, layout }: Change): Edits {
  const { pick, below } = chance;
  const number = below(1e6);
  const path = pick([...files.keys()].filter((path) => path !== RULES_FILE));
  const place = placeIn(files, layout, chance);
  const write = (path: string, mode = REGULAR) => put(files, path, { mode, content: `${path} ${number}` });
  const names = ['new', '[x] {service}*', '-f', 'ü', 'conf/new', 'conf/b', '!n'];
  return [
    () => write(path),
    () => write(path),
    () => write(pick(filesAt(layout, place))),
    () => write(pick(filesAt(layout, place))),
    () => write(path, EXECUTABLE),
    () =>
      write(
        `${layout.inside.length === 0 ? 'playbooks/files' : place}/${pick(names)}.${pick(['yml', 'sh', 'md'])}`,
      ),
    () => write(pick(['libs/one.txt', 'libs/three.txt', 'libs/two/deep.txt', 'libs/two/more.txt'])),
    () => write(layout.shared),
    () => write(pick(['README.md', 'docs/a.md', 'more.txt'])),
    () => void files.delete(path),
  ];
}

function placeIn(files: Files, layout: RandomLayout, { pick }: Chance): string {
  const places = placesIn(layout, files.keys());
  return places.length > 0 ? pick(places) : layout.placeOf('a', 0);
}

function structuralChanges(files: Map<string, RandomFile>, { chance, layout }: Change): Edits {
  const { pick, below } = chance;
  const number = below(1e6);
  const place = placeIn(files, layout, chance);
  const other = placeIn(files, layout, chance);
  const name = pick(NAMES);
  const write = (path: string) => put(files, path, { mode: REGULAR, content: `${path} ${number % 9}` });
  const link = (path: string, content: string) => put(files, path, { mode: LINK, content });
  const marker = `${place}${layout.marker}`;
  return [
    () => move(files, place, layout.placeOf(`moved${number}`, number)),
    () => move(files, place, layout.placeOf(name, number)),
    () => move(files, place, layout.placeOf(nameOf(place), number)),
    () => move(files, place, `deep/er/${name}${layout.inside.length === 0 ? '.yml' : ''}`),
    () => move(files, place, layout.placeOf(name, number), true),
    () => move(files, place, `${other}/${name}`, true),
    () => filesAt(layout, layout.placeOf(`n${number % 9}`, number)).map(write),
    () => filesAt(layout, layout.placeOf(name, number)).map(write),
    () => removeAll(files, place),
    () => void files.delete(marker),
    // A folder becomes a file, and a file becomes a folder.
    () => write(place),
    () => write(`${marker}/inside.yml`),
    () => write('libs'),
    () => link(marker, 'compose.yaml'),
    () => link(place, other.slice(other.lastIndexOf('/') + 1)),
    () => link(`${place}/conf`, '../../libs'),
    () => link(layout.shared, 'README.md'),
    () => put(files, `${place}/module`, { mode: SUBMODULE, content: String(1 + (number % 9)).repeat(40) }),
  ];
}

/** The name of the service, as far as the place tells. */
function nameOf(place: string): string {
  return place
    .slice(place.lastIndexOf('/') + 1)
    .replace(/^\d+[.-]/, '')
    .replace(/\.yml$/, '');
}

function changeRules(files: Map<string, RandomFile>, { chance, layout, mayBreak, earlier }: Change): void {
  const { pick, happens } = chance;
  const now = files.get(RULES_FILE)?.content ?? '{}';
  const kind = chance.random();
  const write = (content: string) => put(files, RULES_FILE, { mode: REGULAR, content });
  if (mayBreak && kind < 0.2) {
    if (happens(0.2)) put(files, RULES_FILE, pick(ODD_FILES));
    else write(brokenRules(chance, now));
  } else if (kind < 0.4) {
    const was = pick(earlier).get(RULES_FILE);
    if (was) put(files, RULES_FILE, was);
    else files.delete(RULES_FILE);
  } else if (kind < 0.45) files.delete(RULES_FILE);
  else if (kind < 0.75) write(mixedRules(chance, now, randomRules(chance, layout, files)));
  else write(randomRules(chance, layout, files));
}

const ODD_FILES: readonly RandomFile[] = [
  { mode: LINK, content: 'README.md' },
  { mode: SUBMODULE, content: '1'.repeat(40) },
];
