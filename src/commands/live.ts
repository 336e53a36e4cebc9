/** A program that runs for long: until it is stopped, or until a part fails that it cannot do its work without. */

import type { Logger } from 'pino';
import { ReporterFailedError } from '../errors.ts';
import { createLifetime, type Lifetime } from '../services/lifetime.ts';
import { listenToSignals } from './signals.ts';

/** Ends at once what a drain would wait for. */
type Hurry = () => void;

/** True when a signal ended it and everything was released. An error of the start is thrown, after the release. */
export async function live(log: Logger, start: (life: Lifetime) => Promise<Hurry>): Promise<boolean> {
  // Before anything starts: a stop in the middle of a start is a stop, not a kill.
  const signals = listenToSignals();
  const life = createLifetime(log);
  // An error that nobody handles leaves a part in an unknown state, or ends its loop: only a restart puts that right.
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (err: unknown) => {
      log.fatal({ err }, 'an error that nobody handled');
      life.fail(err);
    });
  }
  const failed = life.failed.then((error) => ({ error }));
  const hurry = await startOrRelease(life, start, failed);
  signals.onAnother(hurry);
  const end = await Promise.race([signals.first, failed]);
  if (typeof end === 'string') log.info({ signal: end }, 'stopping');
  else {
    log.fatal({ err: end.error }, 'a part has failed for good; ending, to be started again');
    // A report that is not sent is no reason to cut work off.
    if (!(end.error instanceof ReporterFailedError)) hurry();
  }
  const isClean = await life.end();
  log.info('stopped');
  return typeof end === 'string' && isClean;
}

async function startOrRelease(
  life: Lifetime,
  start: (life: Lifetime) => Promise<Hurry>,
  failed: Promise<{ error: Error }>,
): Promise<Hurry> {
  const starting = start(life);
  try {
    const started = await Promise.race([starting, failed]);
    if (typeof started === 'function') return started;
    throw started.error;
  } catch (error) {
    await life.end(starting);
    throw error;
  }
}
