/** Random choices that a seed repeats. */

export interface Random {
  /** A number from 0 up to, but not including, 1. */
  fraction(): number;
  /** A whole number, including both ends. */
  between(lowest: number, highest: number): number;
  chance(probability: number): boolean;
  pick<T>(list: readonly T[]): T;
  /** Picks `count` different items, or fewer if there are not enough. */
  some<T>(list: readonly T[], count: number): T[];
}

/** mulberry32 is small, and good enough for these choices. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  function fraction(): number {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
  const between = (lowest: number, highest: number): number =>
    lowest + Math.floor(fraction() * (highest - lowest + 1));
  function pick<T>(list: readonly T[]): T {
    const [found] = list.slice(between(0, list.length - 1));
    if (found === undefined) throw new Error('There are no items to pick from.');
    return found;
  }
  function some<T>(list: readonly T[], count: number): T[] {
    const left = [...list];
    const chosen: T[] = [];
    while (chosen.length < count && left.length > 0) {
      chosen.push(...left.splice(between(0, left.length - 1), 1));
    }
    return chosen;
  }
  return { fraction, between, chance: (probability) => fraction() < probability, pick, some };
}
