/** The order of a sync: wave after wave, several at once inside a wave, and nothing before what it needs. */

export interface Scheduled {
  id: string;
  wave: number;
  /** Ids of others; those that are not scheduled themselves do not matter. */
  needs: readonly string[];
}

export interface ScheduleOptions<T extends Scheduled> {
  items: readonly T[];
  /** How many are worked on at once. */
  limit: number;
  /** Resolves to whether it succeeded. */
  work(item: T): Promise<boolean>;
  /** Called in place of `work` for what needs something that failed or was itself blocked. */
  onBlocked(item: T, by: string): Promise<void>;
}

/**
 * Works on all items. A failure blocks only what needs it. When `work` rejects, no more is begun, and it rejects
 * once what is under way has ended. A service that needs one of a later wave moves to that wave.
 */
export async function schedule<T extends Scheduled>(options: ScheduleOptions<T>): Promise<void> {
  const { limit, work, onBlocked } = options;
  const byId = new Map(options.items.map((item) => [item.id, item]));
  const waves = effectiveWaves(byId);
  const waiting = new Set(options.items);
  const results = new Map<string, boolean>();
  const active = new Set<Promise<void>>();
  const errors: unknown[] = [];

  function begin(item: T): void {
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
        if (active.size < limit && ready && waveOf(waves, item.id) === current) begin(item);
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
 * An item's own wave, or the latest among what it needs. Circles are refused where rules are read. The stack is a list,
 * because a chain of needs may be longer than calls can be nested.
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
