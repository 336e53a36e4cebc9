/** Loads several servers in turn with the same pushes, so that the machine is the same for each. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Load, LoadResult } from './load.ts';
import { cpuMs } from './process-usage.ts';
import { perSecond, spread, times } from './statistics.ts';

const QUIET_MS = 200;

export interface Contender {
  name: string;
  pid: number;
  port: number;
  results: (LoadResult & { cpuMsPerRequest: number })[];
}

export interface Rounds {
  connections: number;
  requests: number;
  /** The rounds follow one that only warms up. */
  rounds: number;
}

/** Adds the results of each round to each contender. */
export async function loadInTurn(load: Load, contenders: readonly Contender[], of: Rounds): Promise<void> {
  const { connections, requests, rounds } = of;
  for (let round = 0; round <= rounds; round += 1) {
    for (const { pid, port, results } of contenders) {
      const cpuBefore = cpuMs(pid);
      const result = await load.send({ port, connections, requests });
      const cpuMsPerRequest = (cpuMs(pid) - cpuBefore) / requests;
      if (round > 0) results.push({ ...result, cpuMsPerRequest });
      await untilQuiet(pid);
    }
  }
}

/** Waits until the process has done the work that it put off, which would slow down the next contender. */
async function untilQuiet(pid: number): Promise<void> {
  for (let before = cpuMs(pid); ; ) {
    await sleep(QUIET_MS);
    const now = cpuMs(pid);
    if (now - before <= QUIET_MS / 10) return;
    before = now;
  }
}

function rates(of: Contender): number[] {
  return of.results.map(({ requestsPerSecond }) => requestsPerSecond);
}

/** The cells that compare the rates of two contenders, round by round. */
export function compareRates(ours: Contender, peer: Contender) {
  const ratios = rates(ours).map((rate, round) => rate / (rates(peer)[round] ?? 0));
  return {
    ours: spread(rates(ours), perSecond),
    bound: `${peer.name}: ${spread(rates(peer), perSecond)}`,
    ratio: spread(ratios, times),
    ratios,
  };
}
