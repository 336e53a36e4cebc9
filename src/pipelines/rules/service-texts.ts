/** The texts of a rule for one service: its command, its checks, and the patterns of its files. */

import { hash } from 'node:crypto';
import { plainGlob } from './patterns/glob.ts';
import { expand, type Places } from './patterns/placeholders.ts';
import type { Service, ServiceRule } from './service-rules.ts';

type Texts = Pick<Service, 'rule' | 'places'>;

/** The argument list of `task` or `run`. Empty for a service that never runs. */
export function commandOf({ rule, places }: Texts, invokeCommand: readonly string[]): string[] {
  if (rule.run) return rule.run.map((text) => expand(text, places));
  return rule.task == null ? [] : [...invokeCommand, expand(rule.task, places)];
}

export function verifyOf({ rule, places }: Texts): string[] | null {
  return rule.verify?.map((text) => expand(text, places)) ?? null;
}

/** A path in the repository. The root is `.`. */
export function cwdOf({ rule, places }: Texts): string {
  return plainPath(expand(rule.cwd ?? '.', places));
}

/** Paths in the repository, or null for the usual compose file. */
export function configOf({ rule, places }: Texts): string[] | null {
  return rule.config?.map((text) => plainPath(expand(text, places))) ?? null;
}

/** Globs in which the placeholders are replaced, or null for the folder of the service. */
export function inputsPatternsOf({ rule, places }: Texts): string[] | null {
  if (!rule.inputs) return null;
  const plain = Object.entries(places).map(([name, text]) => [name, plainGlob(text)]);
  return rule.inputs.map((pattern) => {
    const expanded = expand(pattern, Object.fromEntries(plain));
    return expanded.startsWith('!') ? `!${plainPath(expanded.slice(1))}` : plainPath(expanded);
  });
}

/** For people: `invoke redis.sync`, or the command. */
export function shownCommand(texts: Texts, invokeCommand: readonly string[] = []): string {
  return commandOf(texts, invokeCommand).join(' ');
}

/** The folder of a service at the root is `.`, so a path may begin with `./`. */
function plainPath(path: string): string {
  return path.replace(/^(?:\.\/)+(?=.)/, '');
}

/**
 * Digest of the texts that decide what a sync of the service does. A rule that has only a task gives the digest that
 * earlier versions stored, so that no service runs because of an upgrade.
 */
export function textsDigest(rule: ServiceRule, places: Places): string {
  const { task, run, cwd, inputs, config, secrets, verify } = rule;
  const name = task == null ? '' : expand(task, places);
  const folder = cwd === '.' ? undefined : cwd;
  if (!(run ?? folder ?? inputs ?? config ?? secrets ?? verify)) return hash('sha256', name);
  const others = { run, cwd: folder, inputs, config, secrets, verify };
  const expanded = JSON.stringify(others, (_name, value: unknown) =>
    typeof value === 'string' ? expand(value, places) : value,
  );
  return hash('sha256', `${name}\n${expanded}`);
}
