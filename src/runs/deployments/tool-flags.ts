/** Splits and checks the flags of requests for Terraform and OpenTofu, without a shell. */

import type { DeploySecrets } from './deployment.ts';

export type FlaggedCommand = 'init' | 'plan';

export type SplitFlags = { ok: true; flags: string[] } | { ok: false; problem: string };

/**
 * Splits as a POSIX shell would by blanks, quotes and backslashes; everything else, such as `$`, `;` and `|`, is a
 * plain character.
 */
export function splitFlags(text: string): SplitFlags {
  if (text.includes('\0')) return { ok: false, problem: 'holds a NUL character' };
  const flags: string[] = [];
  let word: string | null = null;
  let quote: '"' | "'" | null = null;
  for (let index = 0; index < text.length; index += 1) {
    const character = text.charAt(index);
    if (character === '\\' && quote !== "'") {
      const next = text.charAt(index + 1);
      if (next === '') return { ok: false, problem: 'ends with a backslash' };
      // Between double quotes a backslash stays before all but these; before a line's end both go.
      const literal = quote === '"' && !'"\\$`\n'.includes(next) ? `\\${next}` : next;
      if (next !== '\n') word = (word ?? '') + literal;
      index += 1;
    } else if (quote === null ? character === '"' || character === "'" : character === quote) {
      quote = quote === null ? (character === '"' ? '"' : "'") : null;
      word ??= '';
    } else if (quote === null && /[ \t\r\n]/.test(character)) {
      if (word !== null) flags.push(word);
      word = null;
    } else {
      word = (word ?? '') + character;
    }
  }
  if (quote !== null) return { ok: false, problem: `has an unclosed ${quote}` };
  if (word !== null) flags.push(word);
  return { ok: true, flags };
}

/** How a flag takes its value. `file` names a file in the checkout; `backend` takes `key=value` or a file. */
type Form = 'switch' | 'value' | 'file' | 'backend';

/** The flags of both tools, from their `-help` and their sources (internal/command/arguments, internal/command/init.go). */
const ALLOWED: Record<FlaggedCommand, Record<string, Form>> = {
  init: {
    backend: 'switch',
    'backend-config': 'backend',
    cloud: 'switch',
    'compact-warnings': 'switch',
    'consolidate-errors': 'switch',
    'consolidate-warnings': 'switch',
    get: 'switch',
    'ignore-remote-version': 'switch',
    input: 'switch',
    lock: 'switch',
    'lock-timeout': 'value',
    lockfile: 'value',
    'no-color': 'switch',
    reconfigure: 'switch',
    upgrade: 'switch',
    var: 'value',
    'var-file': 'file',
  },
  plan: {
    'allow-deferral': 'switch',
    'compact-warnings': 'switch',
    concise: 'switch',
    'consolidate-errors': 'switch',
    'consolidate-warnings': 'switch',
    deprecation: 'value',
    exclude: 'value',
    'exclude-file': 'file',
    input: 'switch',
    lock: 'switch',
    'lock-timeout': 'value',
    'no-color': 'switch',
    parallelism: 'value',
    refresh: 'switch',
    'refresh-only': 'switch',
    replace: 'value',
    target: 'value',
    'target-file': 'file',
    var: 'value',
    'var-file': 'file',
  },
};

/** The reasons for flags that people may expect. Any other unknown flag is refused without a reason of its own. */
const REFUSED: Record<string, string> = {
  chdir: 'use the field "path"',
  destroy: 'use the field "destroy"',
  'auto-approve': 'use the field "auto_approve"',
  out: 'the plan is kept where it will be applied',
  state: 'where the state is kept is said in the configuration',
  'state-out': 'where the state is kept is said in the configuration',
  backup: 'where the state is kept is said in the configuration',
  'force-copy': 'it overwrites state without approval',
  'migrate-state': 'it overwrites state without approval',
  'from-module': 'the repository is what is deployed',
  'plugin-dir': 'providers come from where the operator says',
  'generate-config-out': 'it writes into the checkout',
  'detailed-exitcode': 'the exit code has to show success',
  'show-sensitive': 'it shows secrets in the log',
  json: 'the log is for people; the plan is kept as JSON, too',
  help: 'nothing would be run',
  h: 'nothing would be run',
};

interface ParsedFlag {
  name: string;
  form: Form;
  /** This is null for a switch without a value. */
  value: string | null;
}

/** Returns one sentence on the first flag that is not allowed, or null. Parses flags as Go's package `flag` does. */
export function flagsProblem(kind: FlaggedCommand, flags: readonly string[]): string | null {
  const parsed = parseFlags(kind, flags);
  if (typeof parsed === 'string') return parsed;
  for (const { name, form, value } of parsed) {
    if (form === 'switch' && value !== null && !/^(1|0|t|f|true|false)$/i.test(value)) {
      return `-${name} takes true or false`;
    }
    if (name === 'input' && (value === null || !/^(0|f|false)$/i.test(value))) {
      return '-input is not allowed: nobody is there to answer; leave it out';
    }
    const file = fileOf(form, value);
    if (file !== null && !staysInside(file)) {
      return `-${name} must name a file by a relative path without "..": it has to be one of the repository`;
    }
  }
  return null;
}

/** Lists the files that allowed flags name, relative to the folder of the root module. Links are not followed here. */
export function flagFiles(kind: FlaggedCommand, flags: readonly string[]): string[] {
  const parsed = parseFlags(kind, flags);
  if (typeof parsed === 'string') return [];
  return parsed.flatMap(({ form, value }) => fileOf(form, value) ?? []);
}

/** Returns a command in a form that may be shown and stored: without the values of `-var` and `-backend-config`. */
export function shownCommand(argv: readonly string[]): string[] {
  return argv.map((word, index) => {
    const own = /^(--?(?:var|backend-config)=[^=]+=)./s.exec(word)?.[1];
    if (own !== undefined) return `${own}****`;
    const ofPrevious = /^--?(?:var|backend-config)$/.test(argv[index - 1] ?? '')
      ? /^([^=]+=)./s.exec(word)
      : null;
    return ofPrevious ? `${ofPrevious[1]}****` : word;
  });
}

/** Returns the values of `-var` and `-backend-config` whose names say that they are secret. They are masked everywhere. */
export function flagSecrets(flags: readonly string[]): string[] {
  return assignments(flags).flatMap(([name, value]) =>
    /token|secret|passw|credential|_key$|conn_str|sas_/i.test(name) ? [value] : [],
  );
}

/**
 * Returns all values of `-var`, `-backend-config` and `TF_VAR_…`. The tool may repeat them, so the logs of steps mask
 * them. Strings within a list or a map are values of their own. Numbers are left out: they are no secrets, and common.
 */
export function givenValues({ environment, initFlags, planFlags }: DeploySecrets): string[] {
  const variables = Object.entries(environment).filter(([name]) => name.startsWith('TF_VAR_'));
  const values = [...assignments([...initFlags, ...planFlags]), ...variables].map(([, value]) => value);
  const given = values.flatMap((value) => [value, ...stringsIn(value)]);
  return [...new Set(given)].filter((value) => !/^-?\d+(\.\d+)?$/.test(value));
}

/** Returns the quoted strings of HCL or JSON, without the keys. */
function stringsIn(value: string): string[] {
  const literals = value.matchAll(/("(?:[^"\\]|\\.)*")(\s*[=:])?/gs);
  return [...literals].flatMap(([, literal = '', isKey]) => (isKey ? [] : [unquoted(literal)]));
}

function unquoted(literal: string): string {
  try {
    return String(JSON.parse(literal));
  } catch {
    return literal.slice(1, -1);
  }
}

/** Returns the names and values of `-var` and `-backend-config`. */
function assignments(flags: readonly string[]): [name: string, value: string][] {
  return flags.flatMap((word, index) => {
    const previous = flags[index - 1] ?? '';
    const assigned = /^--?(?:var|backend-config)=(.*)$/s.exec(word)?.[1];
    const text = assigned ?? (/^--?(?:var|backend-config)$/.test(previous) ? word : '');
    const [, name = '', value = ''] = /^([^=]+)=(.+)$/s.exec(text) ?? [];
    return name === '' ? [] : [[name, value] as [string, string]];
  });
}

function parseFlags(kind: FlaggedCommand, flags: readonly string[]): ParsedFlag[] | string {
  const parsed: ParsedFlag[] = [];
  // The tools look for these three first, even in the place of a value.
  const help = flags.find((word) => /^(-h|--?help)$/.test(word));
  if (help !== undefined) return `${help} is not allowed: ${REFUSED.help}`;
  for (let index = 0; index < flags.length; index += 1) {
    const word = flags[index] ?? '';
    const [, name, given] = /^--?([^-=][^=]*)(?:=(.*))?$/s.exec(word) ?? [];
    if (name === undefined) return `${JSON.stringify(word)} is no flag, and nothing else may stand there`;
    const form = Object.hasOwn(ALLOWED[kind], name) ? ALLOWED[kind][name] : undefined;
    if (form === undefined) return refusal(kind, name);
    if (form === 'switch' || given !== undefined) {
      parsed.push({ name, form, value: given ?? null });
    } else {
      index += 1;
      const next = flags[index];
      if (next === undefined) return `-${name} needs a value`;
      parsed.push({ name, form, value: next });
    }
  }
  return parsed;
}

function refusal(kind: FlaggedCommand, name: string): string {
  const reason = Object.hasOwn(REFUSED, name) ? REFUSED[name] : undefined;
  if (reason !== undefined) return `-${name} is not allowed: ${reason}`;
  const known = Object.keys(ALLOWED[kind]).map((flag) => `-${flag}`);
  return `-${name.slice(0, 40)} is not among the flags that ${kind} may be given: ${known.join(', ')}`;
}

function fileOf(form: Form, value: string | null): string | null {
  if (value === null || (form !== 'file' && form !== 'backend')) return null;
  return form === 'backend' && value.includes('=') ? null : value;
}

function staysInside(path: string): boolean {
  return path !== '' && !path.startsWith('/') && !path.startsWith('~') && !path.split('/').includes('..');
}

export { environmentProblem } from './tool-environment.ts';
