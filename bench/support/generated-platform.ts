/** Makes platform repositories of any size. `git fast-import` writes them straight into a bare repository. */

import { join } from 'node:path';
import { git } from '../../e2e/support/git.ts';

export interface GeneratedPlatform {
  /** The bare repository, as GIT_REPO_URL. */
  path: string;
  head(): Promise<string>;
  /** Commits one changed file in each of these services to main. Resolves to the commit's id. */
  change(services: readonly number[]): Promise<string>;
}

export interface PlatformSize {
  services: number;
  filesPerService: number;
  /** Services go round over this many waves. */
  waves: number;
}

/** Services are named `service-00000` and so on; each has a deploy.py, a compose.yaml and other files. */
export async function generatePlatform(folder: string, size: PlatformSize): Promise<GeneratedPlatform> {
  const path = join(folder, 'generated.git');
  await git(folder, ['init', '--quiet', '--bare', '--template=', '--initial-branch=main', path]);
  const folderOf = (service: number): string =>
    `platform/${String((service % size.waves) + 1).padStart(2, '0')}.service-${String(service).padStart(5, '0')}`;
  let commits = 0;

  async function commit(lines: readonly string[]): Promise<string> {
    commits += 1;
    // The commits have fixed times, one second apart, so that the same size gives the same commits.
    const time = `${1_700_000_000 + commits} +0000`;
    const from = commits > 1 ? 'from refs/heads/main^0\n' : '';
    const heading = `commit refs/heads/main\ncommitter Platform <platform@example.com> ${time}\n${data(`Commit ${commits}`)}${from}`;
    await git(path, ['fast-import', '--quiet'], `${heading}${lines.join('')}\n`);
    return git(path, ['rev-parse', 'refs/heads/main']);
  }

  const lines = [file('tasks.py', 'namespace = None\n'), file('libs/deployer.py', 'SHARED = 1\n')];
  for (let service = 0; service < size.services; service += 1) {
    for (let index = 0; index < size.filesPerService; index += 1) {
      lines.push(file(`${folderOf(service)}/${fileName(index)}`, `service ${service}, file ${index}\n`));
    }
  }
  await commit(lines);

  return {
    path,
    head: () => git(path, ['rev-parse', 'refs/heads/main']),
    change: (services) =>
      commit(
        services.map((service) => file(`${folderOf(service)}/compose.yaml`, `changed by ${commits + 1}\n`)),
      ),
  };
}

function fileName(index: number): string {
  return ['deploy.py', 'compose.yaml'][index] ?? `file-${index}.conf`;
}

function file(path: string, content: string): string {
  return `M 100644 inline ${path}\n${data(content)}`;
}

function data(content: string): string {
  return `data ${Buffer.byteLength(content)}\n${content}\n`;
}
