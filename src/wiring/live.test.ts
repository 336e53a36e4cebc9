import { pino } from 'pino';
import { expect, it, onTestFinished } from 'vitest';
import { ReporterFailedError } from '../errors.ts';
import { live } from './live.ts';

const EVENTS = ['SIGTERM', 'SIGINT', 'SIGHUP', 'uncaughtException', 'unhandledRejection'] as const;

/** Runs a program until it ends, and takes back what it listens to. */
async function liveUntil(failure: Error): Promise<{ isClean: boolean; hurried: number; released: number }> {
  const before = EVENTS.map((event) => [event, new Set(process.rawListeners(event))] as const);
  onTestFinished(() => {
    for (const [event, known] of before)
      for (const listener of process.rawListeners(event))
        if (!known.has(listener)) process.off(event, listener as () => void);
  });
  let hurried = 0;
  let released = 0;
  const isClean = await live(pino({ level: 'silent' }), async (life) => {
    life.onEnd('part', () => {
      released += 1;
    });
    setImmediate(() => life.fail(failure));
    return () => {
      hurried += 1;
    };
  });
  return { isClean, hurried, released };
}

it('A program whose reporter has failed ends to be started again, and lets running steps end', async () => {
  const failure = new ReporterFailedError('The commit statuses cannot be sent because of a defect.');
  expect(await liveUntil(failure)).toEqual({ isClean: false, hurried: 0, released: 1 });
});

it('A program that lost a part which nothing works without ends its running steps at once', async () => {
  expect(await liveUntil(new Error('the writer is gone'))).toEqual({
    isClean: false,
    hurried: 1,
    released: 1,
  });
});
