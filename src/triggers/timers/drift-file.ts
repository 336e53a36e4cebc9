/**
 * Parses the file of DRIFT_TARGETS, which lists what is checked for drift. It names variables that hold secrets, but
 * has no secret itself.
 */

import { z } from 'zod';
import type { DeployInput, DeploySecrets } from '../../runs/deployments/deployment.ts';
import { SECOND } from '../../units.ts';
import { type FileProblem, parseYamlFile } from '../../yaml-file.ts';
import { parseDeployRequest } from '../deploy/deploy-request.ts';
import type { RemoteRules } from '../deploy/deploy-schema.ts';

export interface DriftTarget {
  /** Unique in the file; it is the actor of the target's runs. */
  name: string;
  input: DeployInput;
  secrets: DeploySecrets;
  priority: number;
  labels: string[];
  /** Between two checks; null for DRIFT_INTERVAL. */
  intervalMs: number | null;
}

export type ParsedDriftFile = { ok: true; targets: DriftTarget[] } | { ok: false; problems: FileProblem[] };

export interface DriftFileOptions {
  /** The addresses that targets may name; see Config.remotes. */
  rules: RemoteRules;
  /** The variables that targets may name. */
  environment: Readonly<Record<string, string>>;
}

/** It is lower than the priority of deployments, because somebody waits for those. */
const PRIORITY = -1;

const variable = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'expected the name of a variable');
const passed = z
  .string()
  .regex(
    /^[A-Za-z_][A-Za-z0-9_]*(=[A-Za-z_][A-Za-z0-9_]*)?$/,
    'expected NAME, or NAME=SERVER_NAME when the variable has another name in the environment of the server',
  );

/** These fields are checked by the rules of a request for a deployment. */
const asInRequests = z.unknown().optional();

const targetSchema = z.strictObject({
  name: z
    .string('expected a name')
    .regex(/^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$/, 'expected 1 to 64 letters, digits and . _ / -'),
  git_url: asInRequests,
  git_ref: asInRequests,
  path: asInRequests,
  tool: asInRequests,
  tool_version: asInRequests,
  tfvars_files: asInRequests,
  init_flags: asInRequests,
  plan_flags: asInRequests,
  timeout: asInRequests,
  priority: asInRequests,
  labels: asInRequests,
  callback_url: asInRequests,
  env: z.array(passed).max(100).default([]),
  git_auth: z
    .discriminatedUnion('type', [
      z.strictObject({ type: z.literal('http'), username: z.string().optional(), password_env: variable }),
      z.strictObject({
        type: z.literal('ssh'),
        private_key_env: variable,
        known_hosts: z.string().optional(),
      }),
    ])
    .optional(),
  interval: z
    .int('expected seconds')
    .min(60, 'expected at least 60 seconds')
    .max(9_999_999, 'expected at most 9999999 seconds')
    .optional(),
});

const fileSchema = z.strictObject({ targets: z.array(targetSchema).max(1_000) });

type TargetEntry = z.output<typeof targetSchema>;
/** The place in the target, and the sentence about the problem. */
type Problem = [path: PropertyKey[], message: string];

/** Never throws. Each problem names line and field, and never the value of a variable. */
export function parseDriftFile(text: string, options: DriftFileOptions): ParsedDriftFile {
  const parsed = parseYamlFile(text, fileSchema);
  if (!parsed.ok) return parsed;
  const entries = parsed.value.targets;
  const targets: DriftTarget[] = [];
  const problems: FileProblem[] = [];
  for (const [index, entry] of entries.entries()) {
    const read = readTarget(entry, options);
    const isSecond = entries.findIndex(({ name }) => name === entry.name) < index;
    const found: Problem[] = [
      ...(isSecond ? [[['name'], 'another target has this name'] satisfies Problem] : []),
      ...('problems' in read ? read.problems : []),
    ];
    problems.push(...found.map(([path, message]) => parsed.problemAt(['targets', index, ...path], message)));
    if (!('problems' in read)) targets.push(read);
  }
  return problems.length > 0 ? { ok: false, problems } : { ok: true, targets };
}

function readTarget(
  { name, env, git_auth: auth, interval, ...fields }: TargetEntry,
  { rules, environment }: DriftFileOptions,
): DriftTarget | { problems: Problem[] } {
  const problems: Problem[] = [];
  function readVariable(variableName: string, path: PropertyKey[]): string {
    const value = Object.hasOwn(environment, variableName) ? environment[variableName] : undefined;
    if (value === undefined || value === '') {
      const message = `${variableName} is not set in the environment of the server, or is never passed on`;
      problems.push([path, message]);
    }
    return value ?? '';
  }
  const env_vars = Object.fromEntries(
    env.map((entry, index) => {
      const [own = '', server = own] = entry.split('=');
      return [own, readVariable(server, ['env', index])];
    }),
  );
  const git_auth = auth && gitAuth(auth, readVariable);
  if (problems.length > 0) return { problems };

  const request = parseDeployRequest({ priority: PRIORITY, ...fields, env_vars, git_auth }, rules);
  if (!request.ok) return { problems: request.problems.map(placed) };
  const { input, secrets, priority, labels } = request;
  if (!auth && secrets.git !== null) {
    const message = 'must not hold credentials: name the variable that does in git_auth';
    return { problems: [[['git_url'], message]] };
  }
  return {
    name,
    input: { ...input, operation: 'drift', autoApprove: false },
    secrets,
    priority,
    labels,
    intervalMs: interval === undefined ? null : interval * SECOND,
  };
}

function gitAuth(
  auth: NonNullable<TargetEntry['git_auth']>,
  readVariable: (variableName: string, path: PropertyKey[]) => string,
) {
  if (auth.type === 'http') {
    const { type, username, password_env } = auth;
    return { type, username, password: readVariable(password_env, ['git_auth', 'password_env']) };
  }
  const { type, private_key_env, known_hosts } = auth;
  return { type, known_hosts, private_key: readVariable(private_key_env, ['git_auth', 'private_key_env']) };
}

/** Fields of a request that have another name in the file. */
const FIELDS: Record<string, PropertyKey[]> = {
  env_vars: ['env'],
  'git_auth.password': ['git_auth', 'password_env'],
  'git_auth.private_key': ['git_auth', 'private_key_env'],
};

/** Finds the place of a request's problem, which begins with the name of the field. */
function placed(problem: string): Problem {
  const [, whole = '', first = '', message = problem] =
    /^(([a-z_]+)(?:\.[\w-]+)*):? (.*)$/s.exec(problem) ?? [];
  const path =
    FIELDS[whole] ??
    FIELDS[first] ??
    whole.split('.').map((part) => (/^\d+$/.test(part) ? Number(part) : part));
  // For a variable, the message names it as well.
  return [
    path,
    first === 'env_vars' && whole !== first ? `${whole.slice(first.length + 1)} ${message}` : message,
  ];
}
