/** Which place a request names. */

import { describe, expect, it } from 'vitest';
import { RequestError } from '../errors.ts';
import { findPlace, placesNamed } from './place.ts';

const at = (repository: string, environment: string | null) => ({
  place: { repository, environment, branch: 'main' },
});
const ONE = [at('acme/platform', null)];
const TWO = [at('acme/platform', 'staging'), at('acme/platform', 'production')];
const THREE = [...TWO, at('acme/edge', 'production')];

function problemOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof RequestError && error.status === 400) return error.message;
    throw error;
  }
  throw new Error('It was not refused.');
}

describe('findPlace', () => {
  it('needs no name where there is one place, and takes its name', () => {
    expect(findPlace({}, ONE)).toBe(ONE[0]);
    expect(findPlace({ environment: 'default', repository: 'ACME/platform' }, ONE)).toBe(ONE[0]);
    expect(findPlace({ environment: 'production' }, TWO)).toBe(TWO[1]);
    expect(findPlace({ environment: 'production', repository: 'acme/edge' }, THREE)).toBe(THREE[2]);
    expect(findPlace({ environment: 'staging' }, THREE)).toBe(THREE[0]);
  });

  it.each([
    [{ environment: 'prod' }, ONE, 'Unknown environment "prod": there is only "default"'],
    [{ environment: 'prod' }, TWO, 'Unknown environment "prod": there are "staging", "production"'],
    [{}, TWO, 'environment: name one of "staging", "production"'],
    [{ environment: 'production' }, THREE, 'repository: name one of "acme/platform", "acme/edge"'],
    [{ repository: 'x' }, THREE, 'Unknown repository "x": there are "acme/platform", "acme/edge"'],
    [
      { repository: 'acme/edge', environment: 'staging' },
      THREE,
      'Unknown environment "staging": there is only "production"',
    ],
  ])('refuses %j by saying what there is', (named, places, expected) => {
    expect(problemOf(() => findPlace(named, places))).toBe(expected);
  });
});

it('placesNamed returns all that fit', () => {
  expect(placesNamed({}, THREE)).toEqual(THREE);
  expect(placesNamed({ environment: 'production' }, THREE)).toEqual([THREE[1], THREE[2]]);
});
