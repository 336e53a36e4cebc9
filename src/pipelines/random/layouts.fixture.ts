/** For tests: the layouts of random repositories, which are those of docs/your-repository.md and the example platform. */

export interface RandomLayout {
  name: string;
  /** Matches the folders of services, or their files if each file is a service, at the beginning of a path. */
  place: RegExp;
  /** The folder or file of a service with this name. The number chooses among those that are possible. */
  placeOf(name: string, number: number): string;
  /** The paths of the files of a service below its place. Empty if its place is a file. */
  inside: readonly string[];
  /** The file that makes a service, below its place. */
  marker: string;
  match: string;
  /** The ids that a rule may have; null for the usual id. */
  ids: readonly (string | null)[];
  /** A file on which several services depend. */
  shared: string;
  /** True if the repository needs no rules of its own. */
  hasBuiltInRules: boolean;
}

const CONFIGURATION = ['compose.yaml', 'conf/a b.yml', 'README.md'];

export const LAYOUTS: readonly RandomLayout[] = [
  {
    name: 'the example platform',
    place: /^platform\/\d+\.[^/]+/,
    placeOf: (name, number) => `platform/0${1 + (number % 8)}.${name}`,
    inside: ['deploy.py', ...CONFIGURATION],
    marker: '/deploy.py',
    match: 'platform/{nn}.{service}/deploy.py',
    ids: ['platform/{service}', 'other/{service}', null],
    shared: 'tasks.py',
    hasBuiltInRules: true,
  },
  {
    name: 'compose stacks',
    place: /^stacks\/[^/]+/,
    placeOf: (name) => `stacks/${name}`,
    inside: ['docker-compose.yml', ...CONFIGURATION],
    marker: '/docker-compose.yml',
    match: 'stacks/{service}/docker-compose.yml',
    ids: ['{service}', null],
    shared: 'tasks.py',
    hasBuiltInRules: false,
  },
  {
    name: 'makefiles of teams',
    place: /^services\/[^/]+\/[^/]+/,
    placeOf: (name, number) => `services/${number % 2 === 0 ? 'core' : 'shop'}/${name}`,
    inside: ['Makefile', ...CONFIGURATION],
    marker: '/Makefile',
    match: 'services/{team}/{service}/Makefile',
    ids: ['{team}/{service}', '{service}.{team}', '{service}', null],
    shared: 'common.mk',
    hasBuiltInRules: false,
  },
  {
    name: 'charts and a script',
    place: /^charts\/[^/]+/,
    placeOf: (name) => `charts/${name}`,
    inside: ['Chart.yaml', 'values.yml', ...CONFIGURATION],
    marker: '/Chart.yaml',
    match: 'charts/{service}/Chart.yaml',
    ids: ['{service}', 'chart/{service}', null],
    shared: 'deploy.sh',
    hasBuiltInRules: false,
  },
  {
    name: 'numbered scripts',
    place: /^apps\/\d+-[^/]+/,
    placeOf: (name, number) => `apps/0${1 + (number % 8)}-${name}`,
    inside: ['deploy.sh', ...CONFIGURATION],
    marker: '/deploy.sh',
    match: 'apps/{nn}-{service}/deploy.sh',
    ids: [null, 'apps/{service}', '{nn}/{service}'],
    shared: 'lib/common.sh',
    hasBuiltInRules: false,
  },
  {
    name: 'playbooks',
    place: /^playbooks\/[^/]+\.yml/,
    placeOf: (name) => `playbooks/${name}.yml`,
    inside: [],
    marker: '',
    match: 'playbooks/{service}.yml',
    ids: ['{service}', 'play/{service}'],
    shared: 'inventory.yml',
    hasBuiltInRules: false,
  },
];

/** The folders or files of the services, each once. */
export function placesIn({ place }: RandomLayout, paths: Iterable<string>): string[] {
  return [...new Set([...paths].flatMap((path) => place.exec(path) ?? []))];
}

/** The paths of the files of a service. */
export function filesAt({ inside }: RandomLayout, place: string): string[] {
  return inside.length === 0 ? [place] : inside.map((path) => `${place}/${path}`);
}
