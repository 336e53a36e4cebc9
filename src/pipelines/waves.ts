/** The order of a sync: wave after wave, several at once inside a wave. */

/** Groups by wave number, lowest first; the order inside a wave is kept. */
export function waves<T extends { wave: number }>(items: readonly T[]): T[][] {
  const byWave = new Map<number, T[]>();
  for (const item of items) {
    const wave = byWave.get(item.wave);
    if (wave) wave.push(item);
    else byWave.set(item.wave, [item]);
  }
  return [...byWave].sort(([a], [b]) => a - b).map(([, wave]) => wave);
}

/** Calls `work` for each item, at most `limit` at a time. When one rejects no more are begun, and it rejects after those under way. */
export async function atMost<T>(
  limit: number,
  items: readonly T[],
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  let failed = false;
  async function lane(): Promise<void> {
    for (const item of queue) {
      if (failed) return;
      try {
        await work(item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  }
  const lanes = await Promise.allSettled(Array.from({ length: Math.min(limit, items.length) }, lane));
  for (const result of lanes) if (result.status === 'rejected') throw result.reason;
}
