/** The repositories of a server, and the environments that each is synced to. */

import { SecretMissingError } from '../errors.ts';
import type { SyncWindow } from '../sync-window.ts';
import { readSecretFile } from './secret-files.ts';

/** A secret whose value is known, or the file that holds it. A file is read whenever the secret is needed. */
export type Secret = { value: string } | { file: string };

/** What an environment takes: the head of a branch, the newest tag by version, or what another environment holds. */
export type Source = { branch: string } | { tags: string } | PromotionSource;

/** The rules by which an environment takes what `promote` holds. */
export interface PromotionSource {
  /** The name of the environment that holds it. */
  promote: string;
  /** `other`: somebody else than the one who asked. */
  approval: 'none' | 'any' | 'other';
  /** The names of those who may approve, besides everybody with the role admin. */
  approvers: readonly string[] | null;
  /** Promotes as soon as the other environment has succeeded. */
  automatic: boolean;
}

export interface EnvironmentConfig {
  /** Null: the one environment of a server without CONFIG_FILE. */
  name: string | null;
  source: Source;
  /** The page of what runs there, for people; null if none is known. */
  url: string | null;
  /** The variables that tasks get here, besides those of TASK_ENV. They are part of the config hash. */
  variables: Readonly<Record<string, string>>;
  /** Variable → the secret that tasks get in it. They are masked, and no part of the config hash. */
  secrets: Readonly<Record<string, Secret>>;
  /** If there are any, they replace the windows of the rules file. */
  windows: readonly SyncWindow[];
}

export interface RepositoryConfig {
  /** The name by which requests and pages mean it: `owner/name`, or the name of its folder. */
  name: string;
  /** The `owner/name` that deliveries must have; null accepts any. */
  fullName: string | null;
  /** Credentials in it are used for git only. */
  url: string;
  /** The token for git and for GitHub's API; null if there is none. */
  token: Secret | null;
  /** True if runs are reported to GitHub's Deployments API. */
  deployments: boolean;
  /** True if each service has a commit status of its own. */
  serviceStatuses: boolean;
  /** At least one. */
  environments: readonly EnvironmentConfig[];
}

/** Reads the secret, without the final newline of its file. Throws SecretMissingError, which names the file. */
export function readSecret(secret: Secret): string {
  if ('value' in secret) return secret.value;
  const content = readSecretFile(secret.file);
  if (content.ok) return content.value;
  throw new SecretMissingError(`CONFIG_FILE names the file ${secret.file}, but ${content.problem}`);
}
