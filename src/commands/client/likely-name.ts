/** Adds to a refusal of the server which service or environment was probably meant. */

import { z } from 'zod';
import { RequestError } from '../../errors.ts';
import { nearestName } from '../../nearest-name.ts';
import type { AskAsCaller } from './ask-as-caller.ts';

interface Named {
  services?: readonly string[] | undefined;
  environment?: string | undefined;
}

const environmentsSchema = z.object({ environments: z.array(z.looseObject({ name: z.string() })) });
const servicesSchema = z.object({ services: z.array(z.looseObject({ service: z.string() })) });

/** Resolves to the answer to `send`. Throws its RequestError, with the likely name if one of those named is unknown. */
export async function withLikelyName<T>(ask: AskAsCaller, named: Named, send: () => Promise<T>): Promise<T> {
  try {
    return await send();
  } catch (error) {
    if (!(error instanceof RequestError) || error.status === 503) throw error;
    // The refusal is what counts, so another one on the way to the hint is not told.
    const likely = await likelyName(ask, named).catch(() => null);
    if (likely === null) throw error;
    throw new RequestError(error.status, error.message, {
      nextAction: `Did you mean ${likely}?`,
      cause: error,
    });
  }
}

async function likelyName(ask: AskAsCaller, { services = [], environment }: Named): Promise<string | null> {
  if (environment !== undefined) {
    const { environments } = environmentsSchema.parse(await ask('GET', '/environments'));
    const names = environments.map(({ name }) => name);
    if (!names.includes(environment)) return nearestName(environment, names);
  }
  if (services.length === 0) return null;
  const there = servicesSchema.parse(await ask('GET', '/services')).services.map(({ service }) => service);
  const unknown = services.find((service) => !there.includes(service));
  return unknown === undefined ? null : nearestName(unknown, there);
}
