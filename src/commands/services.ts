/** iac-runner services: lists the services of a working folder as the server would see them. */

import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import fastGlob from 'fast-glob';
import { UsageError } from '../errors.ts';
import {
  type DuplicateService,
  describeDuplicate,
  discoverServices,
} from '../pipelines/rules/discover-services.ts';
import { describeProblem, type ParsedRules, parseRulesFile } from '../pipelines/rules/rules-file.ts';
import { DEFAULT_RULES, RULES_FILE, type Rules, type Service } from '../pipelines/rules/service-rules.ts';
import { shownCommand } from '../pipelines/rules/service-texts.ts';
import { missingServices } from '../pipelines/selection/named-services.ts';
import { replaceUnseen } from '../runs/texts/unseen-characters.ts';
import { parseOptions, type Subcommand } from './subcommand.ts';

const PLACEHOLDER = /\{[^{}]*\}/g;

export const services: Subcommand = {
  summary: 'List the services of a working folder.',
  help: `Usage: iac-runner services [--environment NAME] [FOLDER]

Lists wave, id and task or command of every service under FOLDER (default: here), in the order of a sync.
Exits with 1 when two folders claim one id, or when .iac-runner.yaml cannot be read, naming line and field. Warns of
services that .iac-runner.yaml names and that do not exist.

Options:
  --environment NAME  as a sync of this environment would see them (default: the unnamed one)

Example:
  iac-runner services ~/platform
`,
  async run(args) {
    const { values, positionals } = parseOptions(args, {
      allowPositionals: true,
      options: { environment: { type: 'string', default: '' } },
    });
    const [folder = '.', ...others] = positionals;
    if (others.length > 0) throw new UsageError('Give one folder.');
    if (!existsSync(folder)) throw new UsageError(`There is no folder ${folder}.`);
    const parsed = readRules(folder);
    if (!parsed.ok) {
      for (const problem of parsed.problems)
        process.stderr.write(`${describeProblem(RULES_FILE, problem)}\n`);
      return false;
    }
    const rules: Rules = { ...parsed.rules, environment: values.environment };
    const files = await fastGlob(globPatterns(rules), {
      cwd: path.resolve(folder),
      followSymbolicLinks: false,
      onlyFiles: true,
      dot: true,
      ignore: ['.git/**'],
    });
    const { services, duplicates } = discoverServices(files, rules);
    for (const service of services) {
      const { wave, id, runs } = service;
      const shown = replaceUnseen(runs ? shownCommand(service) : '(never run)', '\ufffd');
      process.stdout.write(`${String(wave).padStart(2, '0')}  ${id.padEnd(40)} ${shown}\n`);
    }
    warn(rules, services, duplicates);
    return duplicates.length === 0;
  },
};

function warn(rules: Rules, services: readonly Service[], duplicates: DuplicateService[]): void {
  const byId = new Map(services.map((service) => [service.id, service]));
  for (const warning of missingServices(rules, { byId, duplicates })) {
    process.stderr.write(`Warning: ${warning}\n`);
  }
  for (const duplicate of duplicates) process.stderr.write(`${describeDuplicate(duplicate)}\n`);
}

/** The patterns of fast-glob that find at least the files of the rules. */
function globPatterns({ services }: Rules): string[] {
  return services.map(({ match }) =>
    match
      .split('/')
      .map((segment) =>
        segment === '**' ? segment : segment.replace(PLACEHOLDER, '*').replace(/[!+@()[\]{}|]/g, '\\$&'),
      )
      .join('/'),
  );
}

function readRules(folder: string): ParsedRules {
  const file = path.join(folder, RULES_FILE);
  return existsSync(file) ? parseRulesFile(readFileSync(file, 'utf8')) : { ok: true, rules: DEFAULT_RULES };
}
