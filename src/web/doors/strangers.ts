/** Bounds the connections whose senders have not proved who they are, in all and for each address. */

import { addressGroup } from './client-address.ts';

export interface Stranger {
  /** The connection made progress, so others are cut off before it. */
  active(): void;
  /** The sender proved who they are, or the connection ended. */
  left(): void;
}

export interface Strangers {
  /** `cut` ends the connection; it is called when a newer one needs its place. */
  arrived(address: string, cut: () => void): Stranger;
}

interface Entry {
  group: string;
  cut: () => void;
}

/**
 * A new connection is always accepted, and the connection that made no progress for the longest time is cut off. So
 * nobody is refused because somebody else keeps connections open, not even from the same address.
 */
export function createStrangers(limits: { perAddress: number; overall: number }): Strangers {
  // Sets keep the order of insertion: the connection that was active last stands last.
  const all = new Set<Entry>();
  const groups = new Map<string, Set<Entry>>();

  function leave(entry: Entry): void {
    all.delete(entry);
    const group = groups.get(entry.group);
    group?.delete(entry);
    if (group?.size === 0) groups.delete(entry.group);
  }

  /** Returns the connections of the same address. */
  function moveToEnd(entry: Entry): ReadonlySet<Entry> {
    const group = groups.get(entry.group) ?? new Set();
    groups.set(entry.group, group);
    for (const set of [all, group]) {
      set.delete(entry);
      set.add(entry);
    }
    return group;
  }

  function cutFirst(entries: ReadonlySet<Entry>, limit: number): void {
    const [first] = entries;
    if (first === undefined || entries.size <= limit) return;
    leave(first);
    first.cut();
  }

  return {
    arrived(address, cut) {
      const entry: Entry = { group: addressGroup(address), cut };
      cutFirst(moveToEnd(entry), limits.perAddress);
      cutFirst(all, limits.overall);
      return {
        active() {
          if (all.has(entry)) moveToEnd(entry);
        },
        left: () => leave(entry),
      };
    },
  };
}
