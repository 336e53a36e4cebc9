/** What a storm is made of. */

import type { World } from './world.ts';

/** One kind of event; `weight` is how often it comes, relative to the others of its list. */
export interface StormEvent {
  name: string;
  weight: number;
  happen(world: World): Promise<void>;
}
