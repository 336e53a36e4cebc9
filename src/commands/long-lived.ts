/** Starts the subcommands that run until a signal. */

import { type Logger, pino } from 'pino';
import { loadUnknownVariables } from '../config.ts';

/** Opens the log of a server or a worker, and warns of variables that look like misspelled ones of iac-runner. */
export function openLog(level: string): Logger {
  const log = pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ dest: 1, sync: true }),
  );
  for (const line of loadUnknownVariables()) log.warn(line);
  return log;
}

/**
 * Makes new files writable only by their owner, because everybody who can write in the checkout decides what runs with
 * the secrets.
 */
export function restrictFiles(): void {
  process.umask(process.umask() | 0o022);
}
