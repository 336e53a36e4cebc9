/** The fields of one entry of `services` in a rules file. */

import { z } from 'zod';
import { placeholdersIn } from '../patterns/placeholders.ts';
import {
  placeholdersOf,
  problemOfGlob,
  problemOfId,
  problemOfMatch,
  problemOfPath,
  problemOfPatterns,
  problemOfPlaceholders,
  withoutFolder,
} from './rule-texts.ts';

const MAX_TEXT = 4_096;
/** Every file may be compared with all of them. */
const MAX_PATTERNS = 100;
const MAX_ARGUMENTS = 1_000;
/** Each of them may stand for the long path of a folder, for every service of the rule. */
const MAX_PLACEHOLDERS = 100;
const WAVE = 'expected a whole number of at most nine digits, or "{nn}"';

/** A text for which the check finds no problem. */
function text(problemOf: (value: string) => string | null) {
  return z
    .string()
    .min(1)
    .max(MAX_TEXT)
    .superRefine((value, { addIssue }) => {
      const message = problemOf(value);
      if (message !== null) addIssue({ code: 'custom', message });
    });
}

/** Globs of which the last one that matches decides. */
export function patterns(problemOf: (pattern: string) => string | null = problemOfGlob) {
  return z
    .array(text((pattern) => problemOf(pattern.replace(/^!/, ''))))
    .max(MAX_PATTERNS)
    .superRefine((list, { addIssue }) => {
      const message = problemOfPatterns(list);
      if (message !== null) addIssue({ code: 'custom', message, path: [0] });
    });
}

const argv = z
  .array(
    z
      .string()
      .max(MAX_TEXT)
      .regex(/^[^\0]*$/, 'expected no NUL character'),
  )
  .min(1)
  .max(MAX_ARGUMENTS)
  .refine(([program]) => program !== '', { error: 'expected the name of a program', path: [0] });

const fields = z.strictObject({
  match: text(problemOfMatch).describe(
    'The file that makes its folder a service, e.g. stacks/{service}/docker-compose.yml',
  ),
  id: z
    .string()
    .regex(/^(?:[A-Za-z0-9._/-]|\{[A-Za-z_][A-Za-z0-9_-]*\})+$/, 'expected an id such as platform/{service}')
    .optional()
    .describe('The id of such a service. Default: the path of its folder without leading numbers'),
  task: z
    .string()
    .regex(
      /^[A-Za-z0-9_][A-Za-z0-9._-]*$|^[A-Za-z0-9_.-]*\{service\}[A-Za-z0-9._-]*$/,
      'expected the name of an invoke task',
    )
    .refine((task) => !task.startsWith('-'), 'expected the name of an invoke task')
    .nullable()
    .optional()
    .describe('The invoke task that syncs it, e.g. "{service}.sync"; null for folders that are never run'),
  run: argv.optional().describe('The program and its arguments, in place of a task. There is no shell'),
  cwd: text((path) => (path === '.' ? null : problemOfPath(withoutFolder(path))))
    .optional()
    .describe('The folder in which it runs, e.g. "{folder}". Default: the root of the repository'),
  wave: z
    .union([z.int().min(0).max(999_999_999), z.literal('{nn}')], { error: WAVE })
    .optional()
    .describe('Lower waves run first. Default: {nn}, or 0'),
  inputs: patterns((pattern) => problemOfGlob(withoutFolder(pattern)))
    .min(1)
    .optional()
    .describe('The files that it depends on. Default: its folder'),
  config: z
    .array(text((path) => problemOfPath(withoutFolder(path))))
    .min(1)
    .max(MAX_PATTERNS)
    .optional()
    .describe('The files that the config hash covers. Default: compose.yaml'),
  environments: z
    .array(z.string().regex(/^[a-z][a-z0-9-]{0,31}$/, 'expected the name of an environment'))
    .min(1)
    .optional()
    .describe('The environments that have it. Default: all'),
  secrets: z
    .array(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'expected the name of a variable'))
    .optional()
    .describe('The only secrets that it gets. Default: all'),
  verify: argv.optional().describe('The program that checks it after each success'),
  timeout: z.int().min(1).max(86_400).optional().describe('Seconds that it may take'),
});

type Fields = z.output<typeof fields>;

export const serviceRule = fields.superRefine((rule, { addIssue }) => {
  for (const { path, message } of problemsOf(rule)) addIssue({ code: 'custom', path, message });
});

interface Problem {
  path: PropertyKey[];
  message: string;
}

function problemsOf(rule: Fields): Problem[] {
  const problems: Problem[] = [];
  if ((rule.task === undefined) === (rule.run === undefined)) {
    problems.push({ path: rule.run ? ['run'] : [], message: 'expected either `task` or `run`' });
  }
  const captured = placeholdersIn(rule.match);
  if (rule.wave === '{nn}' && !captured.includes('nn')) {
    problems.push({ path: ['wave'], message: 'expected {nn} in `match`' });
  }
  const check = (path: PropertyKey[], value: string, allowed: readonly string[]) => {
    const message = problemOfPlaceholders(value, allowed);
    if (message !== null) problems.push({ path, message });
  };
  if (rule.id !== undefined) {
    check(['id'], rule.id, captured);
    const message = problemOfId(rule.id);
    if (message !== null) problems.push({ path: ['id'], message });
  }
  const texts = [rule.run, rule.verify, rule.cwd, rule.config, rule.inputs].flat();
  if (texts.flatMap((one) => placeholdersIn(one ?? '')).length > MAX_PLACEHOLDERS) {
    problems.push({ path: [], message: `expected at most ${MAX_PLACEHOLDERS} placeholders in one rule` });
  }
  const allowed = placeholdersOf(rule.match);
  if (rule.cwd !== undefined) check(['cwd'], rule.cwd, allowed);
  for (const field of ['run', 'verify', 'config', 'inputs'] as const) {
    for (const [index, value] of (rule[field] ?? []).entries()) check([field, index], value, allowed);
  }
  return problems;
}
