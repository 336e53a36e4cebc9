/** What a command is: its words for people, and what it does. */

import { type ParseArgsConfig, parseArgs } from 'node:util';
import { UsageError } from '../errors.ts';

export interface Command {
  /** One line for the overview. */
  summary: string;
  /** Printed by --help, ends with a newline. */
  help: string;
  /** Resolves to whether it succeeded; throws for wrong usage, configuration and the like. */
  run(args: string[]): Promise<boolean>;
}

/** node:util's parseArgs with our kind of error. */
export function parseOptions<T extends ParseArgsConfig>(args: string[], config: T) {
  try {
    return parseArgs<T & { args: string[] }>({ ...config, args });
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new UsageError(message, { cause });
  }
}
