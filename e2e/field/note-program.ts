/** Stands for every program that the rules name: it only writes down the service and the commit. */

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FieldRules } from './expected.ts';

const NOTE = `#!/bin/sh
echo "$IAC_SERVICE $IAC_COMMIT" >> "$IAC_EXAMPLE_STATE/notes"
`;
const CHECK = '#!/bin/sh\n';

/** Returns the folder for PATH. Throws if a program of the repository itself would run. */
export async function writeNotePrograms(folder: string, rules: FieldRules): Promise<string> {
  const programs = new Map([['note', NOTE]]);
  for (const { verify } of rules.services) if (verify?.[0] !== undefined) programs.set(verify[0], CHECK);
  for (const { run } of rules.services) if (run?.[0] !== undefined) programs.set(run[0], NOTE);
  await mkdir(folder, { recursive: true });
  for (const [name, script] of programs) {
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)) {
      throw new Error(`Name a program in place of ${name}: no program of the repository is run here.`);
    }
    await writeFile(join(folder, name), script, { mode: 0o755 });
  }
  return folder;
}

/** The services whose program ran at the commit, sorted. A service that ran twice is in the list twice. */
export async function notedAt(stageFolder: string, commit: string): Promise<string[]> {
  const notes = await readFile(join(stageFolder, 'state/notes'), 'utf8').catch(() => '');
  const lines = notes.split('\n').map((line) => line.split(' '));
  return lines.flatMap(([service = '', at]) => (at === commit ? service : [])).sort();
}
