/** The order of a sync: wave after wave, several services of a wave at once, and each one after those that it needs. */

export interface Scheduled {
  id: string;
  wave: number;
  /** Ids of others. Those that are not scheduled themselves do not count. */
  needs: readonly string[];
}

interface ScheduleOptions<T extends Scheduled> {
  items: readonly T[];
  /** How many items are worked on at once. */
  limit: number;
  /** Resolves to true if the item succeeded. */
  work(item: T): Promise<boolean>;
  /** Called instead of `work` if an item that this one needs has failed or was itself blocked. */
  onBlocked(item: T, by: string): Promise<void>;
}

/**
 * Works on all items. A failure blocks only the items that need it. If `work` rejects, no other item is started, and
 * this function rejects when the running items have ended. An item that needs one of a later wave moves to that wave.
 */
export async function schedule<T extends Scheduled>(options: ScheduleOptions<T>): Promise<void> {
  const { limit, work, onBlocked } = options;
  const byId = new Map(options.items.map((item) => [item.id, item]));
  const waves = effectiveWaves(byId);
  const waiting = new Set(options.items);
  const results = new Map<string, boolean>();
  const active = new Set<Promise<void>>();
  const errors: unknown[] = [];

  function start(item: T): void {
    waiting.delete(item);
    const blocker = item.needs.find((id) => results.get(id) === false);
    const doing = blocker === undefined ? work(item) : onBlocked(item, blocker).then(() => false);
    const done = doing
      .then((succeeded) => void results.set(item.id, succeeded))
      .catch((error: unknown) => void errors.push(error))
      .finally(() => active.delete(done));
    active.add(done);
  }

  while ((waiting.size > 0 && errors.length === 0) || active.size > 0) {
    if (errors.length === 0) {
      const current = Math.min(
        ...[...byId.values()].flatMap(({ id }) => (results.has(id) ? [] : waveOf(waves, id))),
      );
      for (const item of waiting) {
        const ready = item.needs.every((id) => !byId.has(id) || results.has(id));
        if (active.size < limit && ready && waveOf(waves, item.id) === current) start(item);
      }
    }
    await Promise.race(active);
  }
  if (errors.length > 0) throw errors[0];
}

function waveOf(waves: ReadonlyMap<string, number>, id: string): number {
  return waves.get(id) ?? 0;
}

/**
 * Each item's own wave, or the latest wave of the items that it needs. Not recursive, because a chain of needs may be
 * longer than the stack. There are no circles, because `parseRulesFile` refuses them.
 */
function effectiveWaves(byId: ReadonlyMap<string, Scheduled>): Map<string, number> {
  const waves = new Map<string, number>();
  const entered = new Set<string>();
  const stack = [...byId.values()];
  for (let item = stack.at(-1); item !== undefined; item = stack.at(-1)) {
    const needed = item.needs.flatMap((id) => byId.get(id) ?? []);
    const open = entered.has(item.id) ? [] : needed.filter(({ id }) => !waves.has(id));
    entered.add(item.id);
    stack.push(...open);
    if (open.length > 0) continue;
    stack.pop();
    waves.set(item.id, Math.max(item.wave, ...needed.map(({ id }) => waveOf(waves, id))));
  }
  return waves;
}
