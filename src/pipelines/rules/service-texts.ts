/** The texts of a rule for one service: its command, its checks, and the patterns of its files. */

import { hash } from 'node:crypto';
import { posix } from 'node:path';
import { plainGlob } from './patterns/glob.ts';
import { expand, type Places } from './patterns/placeholders.ts';
import type { Service } from './service-rules.ts';

interface Texts extends Pick<Service, 'rule' | 'captures' | 'id' | 'folder' | 'environment'> {
  /** The commit. Left out, `{revision}` is not replaced. */
  revision?: string;
}

function placesOf({ captures, id, folder, environment, revision }: Texts): Places {
  const places = { ...captures, id, folder, environment };
  return revision === undefined ? places : { ...places, revision };
}

/** The argument list of `task` or `run`. Empty for a service that never runs. */
export function commandOf(texts: Texts, invokeCommand: readonly string[]): string[] {
  const { rule } = texts;
  const places = placesOf(texts);
  if (rule.run) return rule.run.map((text) => expand(text, places));
  return rule.task == null ? [] : [...invokeCommand, expand(rule.task, places)];
}

export function verifyOf(texts: Texts): string[] | null {
  const places = placesOf(texts);
  return texts.rule.verify?.map((text) => expand(text, places)) ?? null;
}

/** A path in the repository. The root is `.`. */
export function cwdOf(texts: Texts): string {
  // A placeholder may stand for `..`, which leads no higher than the root.
  return posix.join('/', expand(texts.rule.cwd ?? '.', placesOf(texts))).slice(1) || '.';
}

/** Paths in the repository, or null for the usual compose file. */
export function configOf(texts: Texts): string[] | null {
  const { config } = texts.rule;
  if (!config) return null;
  const places = placesOf(texts);
  return config.map((text) => plainPath(expand(text, places)));
}

/** Globs in which the placeholders are replaced, or null for the folder of the service. */
export function inputsPatternsOf(texts: Texts): string[] | null {
  const { rule } = texts;
  if (!rule.inputs) return null;
  const plain = Object.entries(placesOf(texts)).map(([name, text]) => [name, plainGlob(text)]);
  return rule.inputs.map((pattern) => {
    const expanded = expand(pattern, Object.fromEntries(plain));
    return expanded.startsWith('!') ? `!${asGlob(expanded.slice(1))}` : asGlob(expanded);
  });
}

/** For people: `invoke redis.sync`, or the command. */
export function shownCommand(texts: Texts, invokeCommand: readonly string[] = []): string {
  return commandOf(texts, invokeCommand).join(' ');
}

/** The folder at the root is everything. */
function asGlob(path: string): string {
  return path === '.' ? '**' : plainPath(path);
}

/** The folder of a service at the root is `.`, so a path may begin with `./`. */
function plainPath(path: string): string {
  return path.replace(/^(?:\.\/)+(?=.)/, '');
}

/**
 * Digest of the texts that decide what a sync of the service does. A rule that has only a task gives the digest that
 * earlier versions stored, so that no service runs because of an upgrade.
 */
export function textsDigest(texts: Texts): string {
  const { task, run, cwd, inputs, config, secrets, verify } = texts.rule;
  const name = task == null ? '' : expand(task, texts.captures);
  const folder = cwd === '.' ? undefined : cwd;
  if (!(run ?? folder ?? inputs ?? config ?? secrets ?? verify)) return hash('sha256', name);
  const places = placesOf(texts);
  const others = { run, cwd: folder, inputs, config, secrets, verify };
  const expanded = JSON.stringify(others, (_name, value: unknown) =>
    typeof value === 'string' ? expand(value, places) : value,
  );
  return hash('sha256', `${name}\n${expanded}`);
}
