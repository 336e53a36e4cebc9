/** Gives regular signs of life, with what this process works on, for whoever asks which machines there are. */

import type { Logger } from 'pino';
import type { Fleet, WorkerSign } from '../runs/fleet.ts';
import { SECOND } from '../units.ts';
import type { Worker } from './worker.ts';

const INTERVAL_MS = 5 * SECOND;

export interface HeartbeatOptions {
  fleet: Pick<Fleet, 'beat' | 'leave'>;
  worker: Pick<Worker, 'runs'>;
  sign: Omit<WorkerSign, 'runs' | 'tools' | 'at'>;
  log: Logger;
}

export function startHeartbeat({ fleet, worker, sign, log }: HeartbeatOptions): { stop(): Promise<void> } {
  let beating: Promise<void> = Promise.resolve();
  function beat(): void {
    beating = beating
      .then(() => fleet.beat({ ...sign, runs: worker.runs() }))
      .catch((err: unknown) => log.debug({ err }, 'no sign of life could be given'));
  }
  beat();
  const timer = setInterval(beat, INTERVAL_MS);
  timer.unref();
  return {
    async stop() {
      clearInterval(timer);
      await beating;
      await fleet.leave(sign.owner).catch(() => undefined);
    },
  };
}
