/** Reads the file that CONFIG_FILE names, with the line and field of every mistake. */

import path from 'node:path';
import { KIBIBYTE } from '../../units.ts';
import { describeProblem, parseYamlFile } from '../../yaml-file.ts';
import type { Environment } from '../environment.ts';
import { GIT } from '../tables/git.ts';
import { readTextFile } from '../text-file.ts';
import { type ConfigFields, configFields, type SecretFields } from './config-fields.ts';

const MAX_BYTES = 256 * KIBIBYTE;

export interface ConfigFile {
  fields: ConfigFields;
  /** Describes a mistake with its place in the file. */
  problemAt(place: readonly PropertyKey[], message: string): string;
}

export interface ReadConfigFile {
  /** Null without problems: CONFIG_FILE is not set, or is no absolute path, which the table of variables refuses. */
  file: ConfigFile | null;
  problems: string[];
}

/** Never throws. */
export function readConfigFile(environment: Environment): ReadConfigFile {
  const name = environment[GIT.configFile.name]?.trim();
  if (!name || !path.isAbsolute(name)) return { file: null, problems: [] };
  const { file, problems } = readFileAt(name);
  return { file, problems: [...(hasRepositories(file) ? replaced(environment) : []), ...problems] };
}

/** False if the file only has `notify`, so that the variables name the repository. A file that is wrong may have any. */
export function hasRepositories(file: ConfigFile | null): boolean {
  return file === null || file.fields.repositories !== undefined;
}

/** Returns the variables of the server that the file names as the places of secrets. */
export function variablesNamedIn({ file }: ReadConfigFile): string[] {
  const { repositories = [], notify = [] } = file?.fields ?? {};
  const secrets = [
    ...repositories.flatMap(({ token, environments }): SecretFields[] => [
      ...(token ? [token] : []),
      ...environments.flatMap((one) => Object.values(one.secrets ?? {})),
    ]),
    ...notify.flatMap(({ url, secret }) => [url, ...(secret ? [secret] : [])]),
  ];
  return [...new Set(secrets.flatMap((secret) => ('env' in secret ? [secret.env] : [])))];
}

function readFileAt(name: string): ReadConfigFile {
  const content = readTextFile(name, { maxBytes: MAX_BYTES, expected: 'the configuration' });
  const { name: variable } = GIT.configFile;
  if (!content.ok) {
    return { file: null, problems: [`${variable} names the file ${name}, but ${content.problem}`] };
  }
  const parsed = parseYamlFile(content.text, configFields);
  if (!parsed.ok) {
    return { file: null, problems: parsed.problems.map((problem) => describeProblem(variable, problem)) };
  }
  const problemAt = (place: readonly PropertyKey[], message: string): string =>
    describeProblem(variable, parsed.problemAt(place, message));
  return { file: { fields: parsed.value, problemAt }, problems: [] };
}

/** The file says what these variables say without it. */
function replaced(environment: Environment): string[] {
  return [GIT.url, GIT.branch, GIT.repository]
    .filter(({ name }) => environment[name]?.trim())
    .map(({ name }) => `${GIT.configFile.name} and ${name} are both set. Remove one of them.`);
}
