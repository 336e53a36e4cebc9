/** Repositories with layouts of their own. Their rules are the examples of docs/your-repository.md. */

import { readFileSync } from 'node:fs';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PROJECT_ROOT } from './project-root.ts';

export interface Layout {
  name: string;
  /** The text of `.iac-runner.yaml`, or null for the built-in rules. */
  rules: string | null;
  /** The files of the first commit. Those that begin with `#!` are executable. */
  files: Readonly<Record<string, string>>;
  /** Two services. The first one does not need the second one. */
  ids: readonly [string, string];
  /** A file of the service with this name: `web` or `db`. */
  fileOf(name: string): string;
  /** The file or folder of the service, which is removed or renamed. */
  placeOf(name: string): string;
  /** The id of the service with this name. */
  idOf(name: string): string;
  /** A file on which both services depend, and the services that the answer to its push names. */
  shared: { path: string; announced: readonly string[] };
  /** A file on which no service depends. */
  other: string;
}

/** Writes down the service and the commit, and fails while a file says so. */
const CALL = `echo "$IAC_SERVICE $IAC_COMMIT $*" >> "$IAC_EXAMPLE_STATE/calls"
[ ! -e "$IAC_EXAMPLE_STATE/broken" ]
`;

const PYTHON_CALL = `
    state = os.environ["IAC_EXAMPLE_STATE"]
    with open(f"{state}/calls", "a") as calls:
        print(os.environ["IAC_SERVICE"], os.environ["IAC_COMMIT"], name, file=calls)
    if os.path.exists(f"{state}/broken"):
        sys.exit(1)
`;

const TASKS = `import os
import sys

from invoke import task


@task
def deploy(c, name):
    """Deploy one stack."""${PYTHON_CALL}`;

const MAKEFILE = `deploy:
	echo "$$IAC_SERVICE $$IAC_COMMIT" >> "$$IAC_EXAMPLE_STATE/calls"
	[ ! -e "$$IAC_EXAMPLE_STATE/broken" ]
check:
	grep -q "^$$IAC_SERVICE $$IAC_COMMIT" "$$IAC_EXAMPLE_STATE/calls"
`;

/** The task of a service in the example platform. */
const DEPLOY = `import os
import sys

from invoke import task


@task
def sync(_c):
    """Sync the service."""
    name = ""${PYTHON_CALL}`;

/** A folder for each service, with a file that makes it one. */
function foldered(folderOf: (name: string) => string, marker: string, content: string) {
  return {
    files: { [`${folderOf('web')}/${marker}`]: content, [`${folderOf('db')}/${marker}`]: content },
    fileOf: (name: string) => `${folderOf(name)}/${marker}`,
    placeOf: folderOf,
  };
}

const stacks = foldered((name) => `stacks/${name}`, 'docker-compose.yml', 'services: {}\n');
const teams = foldered((name) => `services/shop/${name}`, 'Makefile', MAKEFILE);
const charts = foldered((name) => `charts/${name}`, 'Chart.yaml', 'apiVersion: v2\n');
const apps = foldered((name) => `apps/0${name === 'db' ? 1 : 2}-${name}`, 'deploy.sh', CALL);
const platform = foldered((name) => `platform/06.${name}`, 'deploy.py', DEPLOY);

const ALL = ['__all__'];

/** In the order of docs/your-repository.md, and then the example platform. */
export function layouts(): Layout[] {
  const [stackRules, teamRules, chartRules, appRules, playbookRules] = documentedRules();
  return [
    {
      ...layoutOf('compose stacks', stackRules, (name) => name),
      ...stacks,
      files: { ...stacks.files, 'tasks.py': TASKS },
      shared: { path: 'tasks.py', announced: ALL },
    },
    {
      ...layoutOf('makefiles of teams', teamRules, (name) => `shop/${name}`),
      ...teams,
      files: { ...teams.files, 'common.mk': '' },
      shared: { path: 'common.mk', announced: ALL },
    },
    {
      ...layoutOf('charts and a script', chartRules, (name) => name),
      ...charts,
      files: { ...charts.files, 'deploy.sh': `#!/bin/sh\n${CALL}` },
      shared: { path: 'deploy.sh', announced: ALL },
      other: 'charts/web/README.md',
    },
    {
      ...layoutOf('numbered scripts', appRules, (name) => `apps/${name}`),
      ...apps,
      files: { ...apps.files, 'lib/common.sh': '' },
      shared: { path: 'lib/common.sh', announced: ALL },
    },
    {
      ...layoutOf('playbooks', playbookRules, (name) => name),
      files: { 'playbooks/web.yml': '', 'playbooks/db.yml': '', 'inventory.yml': '', 'roles/base/a.yml': '' },
      fileOf: (name) => `playbooks/${name}.yml`,
      placeOf: (name) => `playbooks/${name}.yml`,
      shared: { path: 'roles/base/a.yml', announced: ['db', 'web'] },
      other: 'roles/README.md',
    },
    {
      ...layoutOf('the example platform', null, (name) => `platform/${name}`),
      ...platform,
      shared: { path: 'libs/more.py', announced: ALL },
    },
  ];
}

function layoutOf(name: string, rules: string | null | undefined, idOf: Layout['idOf']) {
  if (rules === undefined) throw new Error(`docs/your-repository.md has no rules for ${name}.`);
  return { name, rules, idOf, ids: [idOf('web'), idOf('db')] as const, other: 'README.md' };
}

/** The rules in docs/your-repository.md, in order. */
function documentedRules(): string[] {
  const text = readFileSync(join(PROJECT_ROOT, 'docs/your-repository.md'), 'utf8');
  return [...text.matchAll(/^```yaml\n([\s\S]*?)^```/gm)].map(([, rules = '']) => rules);
}

/** Writes the files of the layout into a folder. */
export async function writeLayout({ files, rules }: Layout, folder: string): Promise<void> {
  const all = rules === null ? files : { ...files, '.iac-runner.yaml': rules };
  for (const [path, content] of Object.entries(all)) {
    const target = join(folder, path);
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, content);
    if (content.startsWith('#!')) await chmod(target, 0o755);
  }
}

/** Writes the programs that the rules name and a test machine may not have. Returns the folder for PATH. */
export async function writePrograms(folder: string, invoke: readonly string[]): Promise<string> {
  const programs = {
    // The folder of these programs is the first one of PATH, and a program of the same name may follow.
    invoke: `PATH="\${PATH#*:}"\nexec ${invoke.join(' ')} "$@"\n`,
    'ansible-playbook': CALL,
  };
  await mkdir(folder, { recursive: true });
  for (const [name, script] of Object.entries(programs)) {
    await writeFile(join(folder, name), `#!/bin/sh\n${script}`, { mode: 0o755 });
  }
  return folder;
}
