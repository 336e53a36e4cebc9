/** Connections whose senders have not proved who they are: few of one address, and room for the next one. */

import { addressGroup } from './client-address.ts';

export interface Stranger {
  readonly address: string;
  /** The connection made progress: others are given up before it. */
  active(): void;
  /** The sender proved who it is, or the connection ended. */
  left(): void;
}

export interface Strangers {
  /** `cut` ends the connection, and is called when its room is needed for a newer one. */
  arrived(address: string, cut: () => void): Stranger;
}

export interface StrangerLimits {
  perAddress: number;
  overall: number;
}

interface Entry {
  group: string;
  cut: () => void;
}

/**
 * A newcomer always gets in: the connection that made no progress for the longest time has to go. So nobody is
 * refused because somebody else keeps connections open, not even from the same address.
 */
export function createStrangers({ perAddress, overall }: StrangerLimits): Strangers {
  // Sets keep the order of insertion: whoever was active last stands last.
  const all = new Set<Entry>();
  const groups = new Map<string, Set<Entry>>();

  function leave(entry: Entry): void {
    all.delete(entry);
    const group = groups.get(entry.group);
    group?.delete(entry);
    if (group?.size === 0) groups.delete(entry.group);
  }

  function moveToEnd(entry: Entry): void {
    const group = groups.get(entry.group) ?? new Set();
    groups.set(entry.group, group);
    for (const set of [all, group]) {
      set.delete(entry);
      set.add(entry);
    }
  }

  function cutStalest(entries: ReadonlySet<Entry> | undefined, limit: number): void {
    if (entries === undefined || entries.size <= limit) return;
    for (const stalest of entries) {
      leave(stalest);
      stalest.cut();
      return;
    }
  }

  return {
    arrived(address, cut) {
      const entry: Entry = { group: addressGroup(address), cut };
      moveToEnd(entry);
      cutStalest(groups.get(entry.group), perAddress);
      cutStalest(all, overall);
      return {
        address,
        active() {
          if (all.has(entry)) moveToEnd(entry);
        },
        left: () => leave(entry),
      };
    },
  };
}
