/** Runs a program until it is stopped, or until a part fails that it needs for its work. */

import type { Logger } from 'pino';
import { ReporterFailedError } from '../errors.ts';
import { createLifetime, type Lifetime } from './lifetime.ts';

/** Ends at once what a drain would wait for. */
type Hurry = () => void;

/** True if a signal ended it and everything was released. An error of the start is thrown, after the release. */
export async function live(log: Logger, start: (life: Lifetime) => Promise<Hurry>): Promise<boolean> {
  // Signals are handled from before the start, so that a signal during the start stops the program in order.
  const signals = listenToSignals();
  const life = createLifetime(log);
  // An error that nobody handles leaves a part in an unknown state, or ends its loop. Only a restart repairs that.
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
    log.fatal(
      { err: end.error },
      'a part has failed for good; the process ends, so that it is started again',
    );
    // A report that cannot be sent is no reason to cut work off.
    if (!(end.error instanceof ReporterFailedError)) (await starting)();
  }
  const isClean = await life.end(starting);
  log.info('stopped');
  return 'signal' in end && isClean;
}

/** Listens to SIGTERM and SIGINT, and to SIGHUP, as a closed terminal is no reason to leave work half done. */
function listenToSignals() {
  let onAnother = (): void => {};
  const first = new Promise<NodeJS.Signals>((resolve) => {
    let stopping = false;
    for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
      process.on(name, (signal) => {
        if (stopping) onAnother();
        stopping = true;
        resolve(signal);
      });
    }
  });
  return {
    /** Resolves to the first signal. */
    first,
    /** Sets what is done at every later signal. */
    onAnother(action: () => void): void {
      onAnother = action;
    },
  };
}
