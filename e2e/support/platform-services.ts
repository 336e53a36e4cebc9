/** The example's twelve services, small changes to them, and a service that waits until the test lets it continue. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writePythonService } from './hand-made-service.ts';
import type { Journal } from './journal.ts';
import type { PlatformRepository } from './platform-repository.ts';

/** Id → folder, in the order of a sync of all services. */
export const FOLDERS: Readonly<Record<string, string>> = {
  'finance_report/postgres': 'finance_report/finance_report/01.postgres',
  'platform/postgres': 'platform/01.postgres',
  'platform/redis': 'platform/01.redis',
  'platform/clickhouse': 'platform/02.clickhouse',
  'platform/minio': 'platform/02.minio',
  'platform/vault': 'platform/02.vault',
  'platform/authentik': 'platform/03.authentik',
  'platform/activepieces': 'platform/04.activepieces',
  'platform/dashy': 'platform/04.dashy',
  'platform/uptime-kuma': 'platform/04.uptime-kuma',
  'platform/signoz': 'platform/05.signoz',
  'finance_report/app': 'finance_report/finance_report/10.app',
};

export const ALL_IDS = Object.keys(FOLDERS).toSorted();

/** Adds a line to a file of the working clone. */
export async function appendLine(repository: PlatformRepository, path: string, line: string): Promise<void> {
  await repository.write(path, `${await readFile(join(repository.clone, path), 'utf8')}${line}\n`);
}

/** Changes the compose file of each of these services, and commits. */
export async function commitChange(
  repository: PlatformRepository,
  ids: readonly string[],
  why: string,
): Promise<string> {
  for (const id of ids) await appendLine(repository, `${FOLDERS[id]}/compose.yaml`, `# ${why}`);
  return repository.commit(why);
}

/** A service that writes the journal before and after `body`, which is Python; see `writePythonService`. */
export async function writeRecordedService(
  repository: PlatformRepository,
  folder: string,
  body: string,
): Promise<void> {
  const id = `${folder.split('/').at(-2)}/${folder.slice(folder.indexOf('.') + 1)}`;
  const inside = body
    .trim()
    .split('\n')
    .map((line) => `    ${line}`);
  const head = [
    'from libs import journal',
    `with journal.recorded("${id}", Path(__file__).resolve().parent):`,
  ];
  await writePythonService(repository, folder, [...head, ...inside].join('\n'));
}

/** A Python expression that is true when the test has opened the gate; see `openGate`. */
export function gateIsOpen(gate: string): string {
  return `(Path(os.environ["IAC_EXAMPLE_STATE"]) / "gate-${gate}").exists()`;
}

/** A service that writes the journal and waits at a gate between start and end. */
export async function writeGatedService(
  repository: PlatformRepository,
  folder: string,
  gate: string,
): Promise<void> {
  await writeRecordedService(repository, folder, `while not ${gateIsOpen(gate)}:\n    time.sleep(0.05)`);
}

/** The services that were started at a commit, sorted. A service that was started twice is listed twice. */
export async function syncedAt(journal: Journal, commit: string): Promise<string[]> {
  const { syncs } = await journal.read();
  return syncs
    .filter((sync) => sync.commit === commit)
    .map(({ service }) => service)
    .toSorted();
}

/** The commit at which each of these services was last started, or null. */
export async function lastSynced(
  journal: Journal,
  ids: readonly string[],
): Promise<Record<string, string | null>> {
  const { syncs } = await journal.read();
  const lastOf = (id: string) => syncs.findLast(({ service }) => service === id)?.commit ?? null;
  return Object.fromEntries(ids.map((id) => [id, lastOf(id)]));
}
