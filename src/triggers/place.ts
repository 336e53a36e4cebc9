/** Finds the place that a request names. */

import { RequestError } from '../errors.ts';
import { DEFAULT_ENVIRONMENT } from '../runs/sync/hold.ts';
import { isSameRepository, type Place } from '../runs/sync/place.ts';
import { quoted } from './request-problems.ts';

/** The members of a request that name a place. Either may be left out where there is only one. */
export interface NamedPlace {
  environment?: string | undefined;
  repository?: string | undefined;
}

/** Returns the one place that the request names. Throws RequestError 400, which says what there is. */
export function findPlace<T extends { place: Place }>(named: NamedPlace, places: readonly T[]): T {
  const [found, ...others] = placesNamed(named, places);
  if (found === undefined) throw new Error('There is no place at all.');
  if (others.length === 0) return found;
  const repositories = namesOf(places, ({ repository }) => repository);
  if (named.repository === undefined && repositories.length > 1) {
    throw new RequestError(400, `repository: name one of ${repositories.join(', ')}`);
  }
  const environments = namesOf([found, ...others], environmentName);
  throw new RequestError(400, `environment: name one of ${environments.join(', ')}`);
}

/** Returns the places that the request is about; all, if it names none. Throws RequestError 400 for an unknown name. */
export function placesNamed<T extends { place: Place }>(
  { environment, repository }: NamedPlace,
  places: readonly T[],
): T[] {
  const there = places.filter(
    ({ place }) => repository === undefined || isSameRepository(place.repository, repository),
  );
  if (there.length === 0)
    throw unknown(
      'repository',
      repository,
      namesOf(places, (place) => place.repository),
    );
  const found = there.filter(
    ({ place }) => environment === undefined || environmentName(place) === environment,
  );
  if (found.length === 0) throw unknown('environment', environment, namesOf(there, environmentName));
  return found;
}

/** The name by which requests and pages mean the environment. */
export function environmentName({ environment }: Pick<Place, 'environment'>): string {
  return environment ?? DEFAULT_ENVIRONMENT;
}

function namesOf(places: readonly { place: Place }[], name: (place: Place) => string): string[] {
  return [...new Set(places.map(({ place }) => quoted(name(place))))];
}

function unknown(field: string, name = '', there: readonly string[] = []): RequestError {
  const known = there.length === 1 ? `there is only ${there[0]}` : `there are ${there.join(', ')}`;
  return new RequestError(400, `Unknown ${field} ${quoted(name)}: ${known}`);
}
