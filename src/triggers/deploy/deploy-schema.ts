/** The fields of the body of POST /deploy, each with its rule. */

import path from 'node:path';
import { z } from 'zod';
import { type GitAuth, TOOLS } from '../../runs/deployments/deployment.ts';
import {
  environmentProblem,
  type FlaggedCommand,
  flagsProblem,
  splitFlags,
} from '../../runs/deployments/tool-flags.ts';
import { refProblem } from '../../runs/texts/git-ref.ts';
import { checkRemoteUrl } from '../../runs/texts/remote-url.ts';
import { normalizeDirectory } from '../../runs/texts/root-directory.ts';
import { DAY, MINUTE } from '../../units.ts';

/** The addresses that requests may name; see Config.remotes. */
export interface RemoteRules {
  protocols: readonly string[];
  hosts: readonly string[];
}

const DEFAULT_TIMEOUT_MINUTES = 60;
const MAX_TIMEOUT_MINUTES = (7 * DAY) / MINUTE;
/** This is far below the priority of an approved run. */
const MAX_PRIORITY = 1_000;
const MAX_LIST = 100;
const MAX_TEXT = 4_096;

export function deploySchema(rules: RemoteRules) {
  return z.object({
    tool: z.enum(TOOLS, required(`must be ${TOOLS.join(' or ')}`)),
    git_url: text.transform((value, context) => remoteUrl(value, rules, context)),
    git_ref: text.superRefine(report(refProblem)),
    path: optional(pathField, '.'),
    env_vars: optional(
      z
        .record(z.string(), z.string('must be a string'), 'must be an object of strings')
        .superRefine((variables, context) => {
          for (const [name, value] of Object.entries(variables)) {
            report(() => environmentProblem(name, value))(value, context);
          }
        }),
      {},
    ),
    tfvars_files: optional(filesField, []),
    init_flags: optional(flags('init'), []),
    plan_flags: optional(flags('plan'), []),
    timeout: optional(whole(1, MAX_TIMEOUT_MINUTES, 'of minutes '), DEFAULT_TIMEOUT_MINUTES),
    auto_approve: optional(z.boolean('must be true or false'), false),
    git_auth: optional(gitAuth, null),
    destroy: optional(z.boolean('must be true or false'), false),
    tool_version: optional(version, null),
    priority: optional(whole(-MAX_PRIORITY, MAX_PRIORITY), 0),
    labels: optional(labels, []),
    callback_url: optional(
      text.transform((value, context) => callbackUrl(value, rules, context)),
      null,
    ),
  });
}

type Context = z.core.$RefinementCtx;

function required(expected: string) {
  return { error: ({ input }: { input?: unknown }) => (input == null ? 'is required' : expected) };
}

/** Null counts as left out, because clients in typed languages send it for fields that they do not set. */
export function optional<T, Fallback>(schema: z.ZodType<T, unknown>, fallback: Fallback) {
  return schema.nullish().transform((value) => value ?? fallback);
}

/** Turns a check into a refinement: its sentence becomes an issue. */
function report<T>(problemWith: (value: T) => string | null): (value: T, context: Context) => void {
  return (value, context) => {
    const message = problemWith(value);
    if (message !== null) context.addIssue({ code: 'custom', message });
  };
}

const text = z.string(required('must be a string'));
const line = text
  .min(1, 'is required')
  .max(MAX_TEXT, `must be at most ${MAX_TEXT} characters`)
  .regex(/^\P{Cc}*$/u, 'must not hold control characters');

function whole(least: number, most: number, unit = '') {
  const message = `must be a whole number ${unit}from ${least} to ${most}`;
  return z.int(message).min(least, message).max(most, message);
}

export const pathField = text.transform((value, context) => {
  const directory = normalizeDirectory(value);
  if (directory !== null) return directory;
  const message = 'must be a folder of the repository: relative to its top, without ".."';
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
});

export const filesField = z
  .array(
    line.superRefine(
      report((file) =>
        path.posix.isAbsolute(file) || file.startsWith('~')
          ? 'must be a relative path in the repository'
          : null,
      ),
    ),
    'must be an array of strings',
  )
  .max(MAX_LIST, `must be at most ${MAX_LIST} files`);

function flags(command: FlaggedCommand) {
  return text.transform((value, context) => {
    const split = splitFlags(value);
    const problem = split.ok ? flagsProblem(command, split.flags) : split.problem;
    if (problem !== null) context.addIssue({ code: 'custom', message: problem });
    return split.ok ? split.flags : [];
  });
}

const version = line.regex(
  /^[0-9][0-9A-Za-z.+-]{0,63}$/,
  'must begin with a digit and hold only letters, digits, dots, dashes and plus signs',
);

const labels = z
  .array(
    text.regex(/^[\w.-]{1,64}$/, 'must be 1 to 64 letters, digits, dots, dashes or underscores'),
    'must be an array of strings',
  )
  .max(MAX_LIST, `must be at most ${MAX_LIST} labels`)
  .transform((list) => [...new Set(list)]);

const httpAuth = {
  // HTTP's Basic authentication ends the name at the first colon (RFC 7617).
  username: optional(text.regex(/^[^:\p{Cc}]*$/u, 'must hold neither a colon nor control characters'), ''),
  password: text.min(1, 'is required').regex(/^\P{Cc}*$/u, 'must not hold control characters'),
};

export const gitAuth = z
  .discriminatedUnion(
    'type',
    [
      z.object({ type: z.literal('http'), ...httpAuth }),
      z.object({ type: z.literal('https'), ...httpAuth }),
      z.object({
        type: z.literal('ssh'),
        private_key: text.regex(
          /^\s*-----BEGIN [A-Z ]*PRIVATE KEY-----\r?\n/,
          'must be a private key in the PEM or OpenSSH form',
        ),
        known_hosts: optional(text, null),
      }),
    ],
    {
      error: ({ code }) =>
        code === 'invalid_union' ? 'must be http, https or ssh' : 'must be an object with "type"',
    },
  )
  .transform((auth): GitAuth => {
    if (auth.type === 'ssh') {
      return { type: 'ssh', privateKey: auth.private_key, knownHosts: auth.known_hosts };
    }
    return { type: 'http', username: auth.username, password: auth.password };
  });

/** The address without its user information, which becomes the credentials. */
function remoteUrl(value: string, rules: RemoteRules, context: Context) {
  const checked = checkRemoteUrl(value, { ...rules, what: 'git_url' });
  if (!checked.ok) {
    context.addIssue({ code: 'custom', message: checked.problem });
    return z.NEVER;
  }
  const { url, credentials } = checked;
  const auth: GitAuth | null = credentials && { type: 'http', ...credentials };
  return { url, credentials: auth };
}

function callbackUrl(value: string, rules: RemoteRules, context: Context): string {
  const protocols = ['https', ...rules.protocols.filter((protocol) => protocol === 'http')];
  const checked = checkRemoteUrl(value, { ...rules, protocols, what: 'callback_url' });
  const problem = checked.ok
    ? checked.credentials && 'must not hold credentials: what is sent there is signed'
    : checked.problem;
  if (problem !== null) context.addIssue({ code: 'custom', message: problem });
  return checked.ok ? checked.url : '';
}
