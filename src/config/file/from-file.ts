/** Makes the repositories and the notify rules from the file that CONFIG_FILE names, with the secrets that it names. */

import { ConfigError } from '../../errors.ts';
import { toWindow } from '../../sync-window.ts';
import type { Environment } from '../environment.ts';
import type { NotifyRule } from '../notify.ts';
import type { EnvironmentConfig, RepositoryConfig, Secret, Source } from '../repositories.ts';
import { readSecretFile } from '../secret-files.ts';
import type { SecretsConfig } from '../secrets.ts';
import type { EnvironmentFields, RepositoryFields, SecretFields } from './config-fields.ts';
import type { ConfigFile } from './config-file.ts';
import { type Problem, problemsIn } from './file-checks.ts';
import { fullNameOf, nameOf } from './file-names.ts';
import { notifyRules } from './file-notify.ts';

interface FromVariables {
  environment: Environment;
  githubApiUrl: string;
  /** The default of `token`. */
  token: string | null;
  /** The variables that no task gets. */
  never: readonly string[];
  /** What signs notifications whose rule names no secret. */
  eventSecret: string | null;
}

interface FromFile {
  /** Null: the file names none, so that it is the one of the variables. */
  repositories: RepositoryConfig[] | null;
  notify: NotifyRule[];
  /** The texts to mask. */
  secrets: SecretsConfig;
}

const MAX_PROBLEMS = 20;

type ReadSecret = (secret: SecretFields, path: PropertyKey[]) => Secret;

/** Throws ConfigError with a line for each mistake, but never with a secret. */
export function readFromFile({ fields, problemAt }: ConfigFile, from: FromVariables): FromFile {
  const problems: Problem[] = problemsIn(fields, from);
  const values: string[] = [];
  const read: ReadSecret = (secret, path) => {
    const found = find(secret, from.environment);
    if (found.ok) {
      values.push(found.value, found.value.trim());
      return found.secret;
    }
    problems.push({ path, message: found.problem });
    return { value: '' };
  };
  const repositories = fields.repositories?.map((one, index, { length }) => ({
    ...toRepository(one, ['repositories', index], read),
    name: nameOf(one, from.githubApiUrl),
    fullName: fullNameOf(one, from.githubApiUrl, length),
    ...(one.token ? {} : { token: from.token === null ? null : { value: from.token } }),
  }));
  const notify = notifyRules(fields.notify ?? [], { read, problems, defaultSecret: from.eventSecret });
  if (problems.length > 0) {
    const lines = problems.slice(0, MAX_PROBLEMS).map(({ path, message }) => problemAt(path, message));
    throw new ConfigError(lines.join('\n'));
  }
  const addresses = (repositories ?? []).map(({ url }, index) => [`repositories.${index}.url`, url]);
  const secrets = { values, others: Object.fromEntries(addresses) };
  return { repositories: repositories ?? null, notify, secrets };
}

type Found = { ok: true; value: string; secret: Secret } | { ok: false; problem: string };

function find(secret: SecretFields, environment: Environment): Found {
  if ('env' in secret) {
    const value = environment[secret.env];
    if (value?.trim()) return { ok: true, value, secret: { value } };
    return { ok: false, problem: `expected a secret in ${shown(secret.env)}, which is not set or empty` };
  }
  const content = readSecretFile(secret.file);
  if (content.ok) return { ok: true, value: content.value, secret };
  return { ok: false, problem: `expected a secret in the file ${secret.file}, but ${content.problem}` };
}

/** A name with small letters may be the secret itself, by mistake. */
function shown(name: string): string {
  return /^[A-Z][A-Z0-9_]*$/.test(name) ? `the variable ${name}` : 'the variable that `env` names';
}

function toRepository(one: RepositoryFields, path: PropertyKey[], read: ReadSecret) {
  return {
    url: one.url,
    token: one.token ? trimmed(read(one.token, [...path, 'token'])) : null,
    deployments: one.deployments,
    serviceStatuses: one.service_statuses,
    environments: one.environments.map((environment, index) =>
      toEnvironment(environment, [...path, 'environments', index], read),
    ),
  };
}

/** A token is part of a header, in which it has no blanks at its ends. */
function trimmed(token: Secret): Secret {
  return 'value' in token ? { value: token.value.trim() } : token;
}

function toEnvironment(one: EnvironmentFields, path: PropertyKey[], read: ReadSecret): EnvironmentConfig {
  const secrets = Object.entries(one.secrets ?? {}).map(([name, secret]) => [
    name,
    read(secret, [...path, 'secrets', name]),
  ]);
  return {
    name: one.name,
    source: toSource(one),
    url: one.url ?? null,
    variables: one.variables ?? {},
    secrets: Object.fromEntries(secrets),
    windows: (one.windows ?? []).map(toWindow),
  };
}

/** The schema requires either `follow` or `promote`. */
function toSource({ follow, promote, approval, approvers, automatic }: EnvironmentFields): Source {
  if (promote !== undefined) {
    return {
      promote,
      approval: approval ?? 'none',
      approvers: approvers ?? null,
      automatic: automatic ?? false,
    };
  }
  return typeof follow === 'object' ? { tags: follow.tags } : { branch: follow ?? '' };
}
