/** iac-runner services: the services of a working folder, as the runner would see them. */

import { existsSync } from 'node:fs';
import path from 'node:path';
import fastGlob from 'fast-glob';
import { UsageError } from '../errors.ts';
import { DEFAULT_RULES, discoverServices, globPatterns } from '../pipelines/service-rules.ts';
import { type Command, parseOptions } from './command.ts';

export const servicesCommand: Command = {
  summary: 'List the services of a working folder.',
  help: `Usage: iac-runner services [FOLDER]

Lists wave, id and task of every service under FOLDER (default: here), in the order of a sync.
Exits with 1 when two folders claim one id.
`,
  async run(args) {
    const { positionals } = parseOptions(args, { allowPositionals: true, options: {} });
    const [folder = '.', ...others] = positionals;
    if (others.length > 0) throw new UsageError('Give one folder.');
    if (!existsSync(folder)) throw new UsageError(`There is no folder ${folder}.`);
    const files = await fastGlob(globPatterns(DEFAULT_RULES), {
      cwd: path.resolve(folder),
      followSymbolicLinks: false,
      onlyFiles: true,
      dot: true,
    });
    const { services, duplicates } = discoverServices(files);
    for (const { wave, id, task } of services) {
      process.stdout.write(`${String(wave).padStart(2, '0')}  ${id.padEnd(40)} ${task ?? '(never run)'}\n`);
    }
    for (const { id, folders } of duplicates) {
      process.stderr.write(`Two folders claim the id ${id}: ${folders.join(' and ')}. Rename one of them.\n`);
    }
    return duplicates.length === 0;
  },
};
