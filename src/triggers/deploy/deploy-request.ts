/** Parses the body of POST /deploy: into the input and the secrets of a deployment, or into all its problems. */

import path from 'node:path';
import type { z } from 'zod';
import type { DeployInput, DeploySecrets } from '../../runs/deployments/deployment.ts';
import { MINUTE } from '../../units.ts';
import { deploySchema, filesField, gitAuth, optional, pathField, type RemoteRules } from './deploy-schema.ts';

export type DeployRequest =
  | { ok: true; input: DeployInput; secrets: DeploySecrets; priority: number; labels: string[] }
  /** One sentence for each wrong field, which begins with its name and never repeats a credential. */
  | { ok: false; problems: string[] };

const MAX_PROBLEMS = 20;

/** Unknown fields are ignored, and null counts as left out. No value is converted to another type. */
export function parseDeployRequest(body: unknown, rules: RemoteRules): DeployRequest {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    return { ok: false, problems: ['The body must be a JSON object'] };
  }
  const parsed = deploySchema(rules).safeParse(body);
  const problems = [...(parsed.error?.issues ?? []).map(describeIssue), ...acrossFields(body)];
  if (!parsed.success || problems.length > 0) return { ok: false, problems: bounded(problems) };
  const { data } = parsed;
  const { url, credentials } = data.git_url;
  return {
    ok: true,
    input: {
      operation: data.destroy ? 'destroy' : 'apply',
      tool: data.tool,
      toolVersion: data.tool_version,
      gitUrl: url,
      gitRef: data.git_ref,
      path: data.path,
      tfvarsFiles: data.tfvars_files,
      timeoutMs: data.timeout * MINUTE,
      autoApprove: data.auto_approve,
      callbackUrl: data.callback_url,
    },
    secrets: {
      environment: data.env_vars,
      git: data.git_auth ?? credentials,
      initFlags: data.init_flags,
      planFlags: data.plan_flags,
    },
    priority: data.priority,
    labels: data.labels,
  };
}

/** Finds problems between two fields, as far as each is right by itself. */
function acrossFields(body: object): string[] {
  const fields: Partial<Record<string, unknown>> = { ...body };
  const problems: string[] = [];
  const root = optional(pathField, '.').safeParse(fields.path).data ?? '.';
  const files = filesField.safeParse(fields.tfvars_files).data ?? [];
  if (files.some((file) => path.posix.join(root, file).split('/')[0] === '..')) {
    problems.push('tfvars_files: must not lead out of the repository');
  }
  const auth = gitAuth.safeParse(fields.git_auth).data;
  const isHttp = typeof fields.git_url === 'string' ? /^https?:/i.test(fields.git_url) : null;
  if (auth && isHttp !== null && isHttp !== (auth.type === 'http')) {
    problems.push(`git_auth.type: ${auth.type} does not go with an ${isHttp ? 'http' : 'ssh'} address`);
  }
  return problems;
}

function describeIssue({ path: location, message }: z.core.$ZodIssue): string {
  const field = location.join('.').slice(0, 120);
  const words = message.replace(/\.$/, '');
  return words.startsWith(`${field} `) ? words : `${field}: ${words}`;
}

function bounded(problems: string[]): string[] {
  const more = problems.length - MAX_PROBLEMS;
  return more > 0 ? [...problems.slice(0, MAX_PROBLEMS), `and ${more} more`] : problems;
}
