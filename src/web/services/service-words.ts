/** The words and addresses of services, for all pages. */

import { html } from 'hono/html';
import type { Place } from '../../runs/sync/place.ts';
import type { ServiceState } from '../../runs/sync/standing.ts';
import { environmentName } from '../../triggers/place.ts';
import type { Html } from '../frame/layout.ts';
import { pathWith } from '../frame/list-parts.ts';

const WORDS: Record<ServiceState, string> = {
  up_to_date: 'up to date',
  behind: 'behind',
  syncing: 'syncing',
  failed: 'failed',
  blocked: 'blocked',
  pinned: 'pinned',
  held: 'held',
  never: 'never synced',
};

export function serviceWord(state: ServiceState): string {
  return WORDS[state];
}

export function serviceBadge(state: ServiceState): Html {
  return html`<span class="state" data-state="${state}">${WORDS[state]}</span>`;
}

/** The address of a service. `place` is null where there is only one. */
export function servicePath(
  service: string,
  place: Pick<Place, 'environment' | 'repository'> | null,
  action: '' | '/rollback' | '/unpin' = '',
): string {
  const path = `/services/${service.split('/').map(encodeURIComponent).join('/')}${action}`;
  if (place === null) return path;
  return pathWith(path, { environment: environmentName(place), repository: place.repository });
}
