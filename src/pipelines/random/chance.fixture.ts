/** For tests: decisions by chance that are the same for the same seed. */

export interface Chance {
  /** A number from 0 to 1. */
  random(): number;
  /** Returns a whole number that is at least 0 and less than the limit. */
  below(limit: number): number;
  pick<T>(list: readonly T[]): T;
  /** Returns different elements of the list in its order: at least one if there is one, and at most so many. */
  some<T>(list: readonly T[], most: number): T[];
  /** Returns true with this probability. */
  happens(probability: number): boolean;
}

export function createChance(seed: number): Chance {
  const random = createRandom(seed);
  const below = (limit: number) => Math.floor(random() * limit);
  return {
    random,
    below,
    pick(list) {
      const [picked] = list.slice(below(list.length));
      if (picked === undefined) throw new Error('There is nothing to pick from.');
      return picked;
    },
    some(list, most) {
      const count = Math.min(list.length, 1 + below(most));
      const places = new Set<number>();
      while (places.size < count) places.add(below(list.length));
      return list.filter((_element, place) => places.has(place));
    },
    happens: (probability) => random() < probability,
  };
}

/** Returns the same numbers from 0 to 1 for the same seed (mulberry32). */
function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
