/** The events of a storm. */

import type { World } from './world.ts';

/** One kind of event. `weight` says how often it happens, relative to the others of its list. */
export interface StormEvent {
  name: string;
  weight: number;
  happen(world: World): Promise<void>;
}
