/** A service whose sync can outlive the server that started it, and can wait for another environment. */

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { EnvironmentName } from './environments.ts';
import type { World } from './world.ts';

export const SLOW_SERVICE = 'platform/slow';
export const SLOW_FOLDER = 'platform/06.slow';

/** Its first sync of a commit in an environment takes seconds, or as long as a file holds it. */
export const SLOW_TASK = `
state = Path(os.environ["IAC_EXAMPLE_STATE"])
name = os.environ["IAC_ENVIRONMENT"] + "-" + os.environ["IAC_COMMIT"]
marker, hold = state / f"slow-{name}", state / f"hold-{name}"
again = marker.exists()
state.mkdir(parents=True, exist_ok=True)
marker.touch()
time.sleep(0.05 if again else 4 if name.startswith("staging") else 1)
while not again and hold.exists():
    time.sleep(0.05)`;

/** Makes the first task of the slow service at the commit wait. Returns the function that lets it go on. */
export function holdTask({ stage }: World, environment: EnvironmentName, commit: string): () => void {
  const state = join(stage.folder, 'state');
  mkdirSync(state, { recursive: true });
  const file = join(state, `hold-${environment}-${commit}`);
  writeFileSync(file, '');
  return () => rmSync(file, { force: true });
}
