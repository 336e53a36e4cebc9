/** Config hashes in Dokploy: the line `IAC_CONFIG_HASH=` in the environment of each service's compose service. */

import { describeError, RunnerError } from '../../errors.ts';
import { type ConfigHashes, type FoundHashes, ODD_HASH } from '../../runs/config-hashes.ts';
import { capitalized } from '../../runs/texts/capitalized.ts';
import {
  createDokployClient,
  type DokployClient,
  type DokployClientOptions,
  DokployError,
} from './dokploy-client.ts';
import { readVariable, setVariable } from './env-text.ts';
import { locate, type Place, type Projects } from './places.ts';

const VARIABLE = 'IAC_CONFIG_HASH';
/** For this time the list of projects can be used to find places. The environments in it are never kept. */
const PLACES_MS = 60_000;
const READS_AT_ONCE = 8;
/** The limit for all requests of one read or write together. */
const LIMIT_MS = 30_000;

/** The API, and the list of projects that it gave last. */
interface Dokploy {
  client: DokployClient;
  latest: { at: number; projects: Projects } | null;
}

export function createDokployHashes(options: DokployClientOptions): ConfigHashes {
  const dokploy: Dokploy = { client: createDokployClient(options), latest: null };
  return {
    async read(services, outer) {
      const answer: FoundHashes = { found: new Map(), problems: new Map(), failure: null };
      try {
        await inTime(outer, (signal) => readInto(answer, dokploy, services, signal));
      } catch (error) {
        if (!(error instanceof DokployError)) throw error;
        answer.failure = describeError(error);
      }
      return answer;
    },
    write: ({ service, value }, services, outer) =>
      inTime(outer, async (signal) => {
        const { latest } = dokploy;
        const kept = latest && performance.now() - latest.at < PLACES_MS ? latest.projects : null;
        const located = kept && locate(service, services, kept);
        if (located && 'place' in located) {
          try {
            return await save(dokploy, located.place, value, signal);
          } catch (error) {
            // The task of the service made the application again, so it has another id.
            if (!(error instanceof DokployError) || error.status !== 404) throw error;
          }
        }
        const now = locate(service, services, await fetchProjects(dokploy, signal));
        if ('problem' in now) throw new RunnerError(`${capitalized(now.problem)}.`);
        await save(dokploy, now.place, value, signal);
      }),
  };
}

/** Reads the hash of each service, or notes why this service has none. Throws if Dokploy itself has a problem. */
async function readInto(
  { found, problems }: FoundHashes,
  dokploy: Dokploy,
  services: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const projects = await fetchProjects(dokploy, signal);
  const open: [string, Place][] = [];
  for (const service of services) {
    const located = locate(service, services, projects);
    if ('problem' in located) problems.set(service, located.problem);
    else open.push([service, located.place]);
  }
  await eachAtOnce(open, signal, async ([service, { composeId, env }], ending) => {
    try {
      const text = env === undefined ? await dokploy.client.environmentOf(composeId, ending) : (env ?? '');
      found.set(service, hashIn(text));
    } catch (error) {
      if (!isAboutOne(error)) throw error;
      problems.set(service, error.message);
    }
  });
}

async function fetchProjects(dokploy: Dokploy, signal: AbortSignal): Promise<Projects> {
  const projects = await dokploy.client.projects(signal);
  dokploy.latest = { at: performance.now(), projects };
  return projects;
}

async function save({ client }: Dokploy, place: Place, value: string, signal: AbortSignal): Promise<void> {
  // The text is read again right before the write, because Dokploy has no conditional write and the other lines belong
  // to other people.
  const text = await client.environmentOf(place.composeId, signal);
  if (readVariable(text, VARIABLE) === value) return;
  await client.saveEnvironment(place.composeId, setVariable(text, VARIABLE, value), signal);
}

/** Throws DokployError when the work takes too long, and the outer signal's reason when that ends it. */
async function inTime<T>(outer: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const limit = AbortSignal.timeout(LIMIT_MS);
  try {
    return await work(AbortSignal.any([outer, limit]));
  } catch (error) {
    outer.throwIfAborted();
    if (!limit.aborted) throw error;
    throw new DokployError(null, `Dokploy took more than ${LIMIT_MS / 1_000} s in all.`);
  }
}

function hashIn(text: string): string | null {
  const value = readVariable(text, VARIABLE);
  if (value === null || value === '') return null;
  return /^[0-9a-f]{1,64}$/i.test(value) ? value.toLowerCase() : ODD_HASH;
}

/**
 * Returns true if Dokploy is well and only this compose service cannot be read: it was removed meanwhile, or access is
 * not allowed.
 */
function isAboutOne(error: unknown): error is DokployError {
  return error instanceof DokployError && error.status !== null && error.status < 500;
}

/** Stops all requests at the first failure, because the others would fail, too. */
async function eachAtOnce<T>(
  items: readonly T[],
  signal: AbortSignal,
  work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const failed = new AbortController();
  const ending = AbortSignal.any([signal, failed.signal]);
  const queue = items.values();
  await Promise.all(
    Array.from({ length: READS_AT_ONCE }, async () => {
      try {
        for (const item of queue) {
          ending.throwIfAborted();
          await work(item, ending);
        }
      } catch (error) {
        failed.abort(error);
        throw error;
      }
    }),
  );
}
