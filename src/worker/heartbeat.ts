/** Gives regular signs of life to the store, with the runs that this process works on. */

import type { Logger } from 'pino';
import { type Loop, startLoop } from '../loop.ts';
import type { Fleet, WorkerSign } from '../runs/fleet.ts';
import { SECOND } from '../units.ts';
import type { Worker } from './worker.ts';

export interface HeartbeatOptions {
  fleet: Pick<Fleet, 'beat' | 'leave'>;
  worker: Pick<Worker, 'runs'>;
  sign: Omit<WorkerSign, 'runs' | 'tools' | 'at'>;
  log: Logger;
}

export function startHeartbeat({ fleet, worker, sign, log }: HeartbeatOptions): Loop {
  const loop = startLoop({
    firstMs: 0,
    pauseMs: 5 * SECOND,
    work: () => fleet.beat({ ...sign, runs: worker.runs() }),
    onError: (err) => log.debug({ err }, 'no sign of life could be given'),
  });
  return {
    async stop() {
      await loop.stop();
      await fleet.leave(sign.owner).catch(() => undefined);
    },
  };
}
