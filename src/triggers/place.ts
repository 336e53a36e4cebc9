/** Checks the environment and the repository that a request names. */

import { RequestError } from '../errors.ts';
import { quoted } from './request-problems.ts';

/** The one environment of this server, and its repository. */
export interface Place {
  environment: string;
  repository: string;
}

/** The name of an environment that has none in the configuration. */
export const DEFAULT_ENVIRONMENT = 'default';

/** Throws RequestError 400, which names what there is. A member that is left out is right. */
export function requirePlace(
  named: { environment?: string | undefined; repository?: string | undefined },
  there: Place,
): void {
  for (const field of ['environment', 'repository'] as const) {
    const name = named[field];
    if (name === undefined || name === there[field]) continue;
    throw new RequestError(400, `Unknown ${field} ${quoted(name)}: there is only ${quoted(there[field])}`);
  }
}
