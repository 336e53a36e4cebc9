/** A program that runs for long: until it is stopped, or until a part fails that it cannot do its work without. */

import type { Logger } from 'pino';
import { ReporterFailedError } from '../errors.ts';
import { createLifetime, type Lifetime } from './lifetime.ts';
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
  const stopped = signals.first.then((signal) => ({ signal }));
  const failed = life.failed.then((error) => ({ error }));
  const starting = start(life);
  starting.then(signals.onAnother, () => undefined);
  try {
    const soFar = await Promise.race([starting, failed, stopped]);
    if ('error' in soFar) throw soFar.error;
  } catch (error) {
    await life.end(starting);
    throw error;
  }
  const end = await Promise.race([stopped, failed]);
  if ('signal' in end) log.info(end, 'stopping');
  else {
    log.fatal({ err: end.error }, 'a part has failed for good; ending, to be started again');
    // A report that is not sent is no reason to cut work off.
    if (!(end.error instanceof ReporterFailedError)) (await starting)();
  }
  const isClean = await life.end(starting);
  log.info('stopped');
  return 'signal' in end && isClean;
}
