/** The fields of the file that CONFIG_FILE names. The published JSON Schema is made from this. */

import path from 'node:path';
import { z } from 'zod';
import { windowFields } from '../../sync-window.ts';
import { KIBIBYTE } from '../../units.ts';
import { NOTIFY_EVENTS, NOTIFY_FORMATS } from '../notify.ts';
import { httpUrl } from '../shapes.ts';
import { branchName, repositoryUrl } from '../tables/git.ts';
import type { Shape } from '../variable.ts';

const MAX_REPOSITORIES = 100;
const MAX_ENVIRONMENTS = 50;
const MAX_VARIABLES = 200;
const MAX_APPROVERS = 100;
const MAX_WINDOWS = 100;
const MAX_RULES = 50;
const MAX_NAMED = 500;
const MAX_TEXT = 2_048;
/** Linux refuses a variable of 128 KiB. */
const MAX_VALUE = 32 * KIBIBYTE;

/** An object without any other fields. */
function fields<Fields extends z.ZodRawShape>(shape: Fields) {
  const message = `the field is unknown; expected one of ${Object.keys(shape).join(', ')}`;
  return z.strictObject(shape, {
    error: ({ code }) => (code === 'unrecognized_keys' ? message : undefined),
  });
}

/** A text that follows the rule of a variable. */
function like({ schema, expected }: Shape<unknown>) {
  return z
    .string()
    .trim()
    .max(MAX_TEXT)
    .refine((value) => value !== '' && schema.safeParse(value).success, `expected ${expected}`);
}

const EXPECTED_NAME = 'expected the name of a variable: letters, digits and _, not beginning with a digit';

const variableName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, EXPECTED_NAME)
  .describe('The name of a variable');

function byVariable<Value extends z.ZodType>(value: Value) {
  return z
    .record(variableName, value, {
      error: ({ code }) => (code === 'invalid_key' ? EXPECTED_NAME : undefined),
    })
    .refine(
      (record) => Object.keys(record).length <= MAX_VARIABLES,
      `expected at most ${MAX_VARIABLES} variables`,
    );
}

const variableValue = z
  .string({
    error: ({ input }) =>
      typeof input === 'number' || typeof input === 'boolean'
        ? 'expected a text; write numbers, true and false in quotes'
        : undefined,
  })
  .max(MAX_VALUE)
  .regex(/^[^\0]*$/, 'expected no NUL character');

const secret = z
  .union(
    [
      fields({ env: variableName.describe('The variable of the server that holds it') }),
      fields({
        file: z
          .string()
          .max(MAX_TEXT)
          .refine((file) => path.isAbsolute(file) && !file.includes('\0'), 'expected an absolute path')
          .describe('The absolute path of the file that holds it'),
      }),
    ],
    { error: 'expected { env: NAME } or { file: /path }' },
  )
  .describe('Where a secret is: { env: NAME } or { file: /path }');

const environmentName = z
  .string()
  .regex(
    /^[a-z][a-z0-9-]{0,31}$/,
    'expected a name of a-z, 0-9 and -, at most 32 characters, that begins with a letter',
  );

/** Git takes one asterisk in a refspec. */
const tagPattern = z
  .string()
  .max(255)
  .refine(
    (pattern) =>
      /^[^*]*\*?[^*]*$/.test(pattern) && branchName.schema.safeParse(pattern.replace('*', 'x')).success,
    'expected the name of a tag, or a pattern with one asterisk such as "v*"',
  )
  .describe('The tags that count, e.g. "v*"');

const environmentFields = fields({
  name: environmentName.describe('Its name, e.g. staging'),
  follow: z
    .union([like(branchName).describe('The branch that is deployed'), fields({ tags: tagPattern })], {
      error: 'expected the name of a branch, or { tags: "v*" }',
    })
    .optional()
    .describe('A branch, or tags, of which the newest by version is deployed'),
  promote: environmentName
    .optional()
    .describe('The environment whose commits it takes, in place of `follow`'),
  approval: z
    .enum(['none', 'any', 'other'])
    .optional()
    .describe('Who approves a promotion: nobody, anybody who may, or somebody else than the one who asked'),
  approvers: z
    .array(
      z
        .string()
        .regex(
          /^[^\s:,]{1,128}$/,
          'expected the name of a token of API_TOKENS, or of a person of OIDC_ISSUER',
        ),
    )
    .min(1)
    .max(MAX_APPROVERS)
    .optional()
    .describe('The names of those who may approve, besides everybody with the role admin'),
  automatic: z.boolean().optional().describe('Promote as soon as the other environment has succeeded'),
  url: like({ ...httpUrl, expected: 'an http(s) URL without credentials' })
    .refine((value) => !hasCredentials(value), 'expected an http(s) URL without credentials')
    .optional()
    .describe('The page of what runs there, for people'),
  variables: byVariable(variableValue)
    .optional()
    .describe('Variables that tasks get. The config hash covers them'),
  secrets: byVariable(secret).optional().describe('Variable → the secret that tasks get in it'),
  windows: z
    .array(windowFields)
    .max(MAX_WINDOWS)
    .optional()
    .describe('When syncs may run, in place of the windows in .iac-runner.yaml'),
});

export type EnvironmentFields = z.output<typeof environmentFields>;

const environment = environmentFields.superRefine((one, { addIssue }) => {
  for (const { path: place, message } of problemsOf(one)) addIssue({ code: 'custom', path: place, message });
});

const repository = fields({
  url: like(repositoryUrl).describe('Its address: https, ssh, or a local path'),
  name: z
    .string()
    .max(140)
    .regex(
      /^[A-Za-z0-9][A-Za-z0-9._-]*(\/[A-Za-z0-9][A-Za-z0-9._-]*)?$/,
      'expected a name such as acme/platform',
    )
    .optional()
    .describe('owner/name on GitHub. Default: from url'),
  token: secret.optional().describe('The token for git and for the API of GitHub. Default: GITHUB_TOKEN'),
  deployments: z.boolean().default(false).describe("Report to GitHub's Deployments API"),
  service_statuses: z.boolean().default(false).describe('One commit status per service as well'),
  environments: z.array(environment).min(1).max(MAX_ENVIRONMENTS),
});

const notifyRule = fields({
  url: secret.describe('Where the address is: { env: NAME } or { file: /path }'),
  format: z
    .enum(NOTIFY_FORMATS)
    .default('standard-webhooks')
    .describe('JSON that is signed as Standard Webhooks says, or a text for Slack and what takes the same'),
  secret: secret
    .optional()
    .describe('Where the secret is that signs: whsec_ and base64. Default: EVENT_WEBHOOK_SECRET'),
  events: z.array(z.enum(NOTIFY_EVENTS)).min(1).describe('What is told'),
  environments: z
    .array(environmentName)
    .min(1)
    .max(MAX_ENVIRONMENTS)
    .optional()
    .describe('Only these environments; `default` is the one without a name'),
  services: z
    .array(z.string().min(1).max(MAX_TEXT))
    .min(1)
    .max(MAX_NAMED)
    .optional()
    .describe('Only these services, by id'),
});

export const configFields = fields({
  repositories: z.array(repository).min(1).max(MAX_REPOSITORIES).optional(),
  notify: z.array(notifyRule).max(MAX_RULES).optional().describe('Who is told what'),
})
  .refine(
    ({ repositories, notify }) => repositories !== undefined || notify !== undefined,
    'expected `repositories`, or `notify` for the repository of GIT_REPO_URL',
  )
  .describe('The repositories and environments of an iac-runner, and who is told what');

export type ConfigFields = z.output<typeof configFields>;
export type RepositoryFields = NonNullable<ConfigFields['repositories']>[number];
export type NotifyFields = z.output<typeof notifyRule>;
export type SecretFields = z.output<typeof secret>;

function hasCredentials(value: string): boolean {
  const url = URL.parse(value);
  return url !== null && `${url.username}${url.password}` !== '';
}

function problemsOf({ follow, promote, approval, ...others }: EnvironmentFields) {
  const problems: { path: PropertyKey[]; message: string }[] = [];
  if (promote !== undefined) {
    if (follow !== undefined) {
      problems.push({ path: ['promote'], message: 'expected either `follow` or `promote`, not both' });
    }
    if (others.approvers && (approval ?? 'none') === 'none') {
      problems.push({
        path: ['approvers'],
        message: 'expected `approval: any` or `approval: other` with it',
      });
    }
    return problems;
  }
  if (follow === undefined) problems.push({ path: [], message: 'expected either `follow` or `promote`' });
  const given = { approval, approvers: others.approvers, automatic: others.automatic };
  for (const [name, value] of Object.entries(given)) {
    if (value !== undefined) problems.push({ path: [name], message: 'expected `promote` with it' });
  }
  return problems;
}
