/** Config hashes in Dokploy: the line `IAC_CONFIG_HASH=` in the environment of each service's compose service. */

import { describeError, RunnerError } from '../../errors.ts';
import { type ConfigHashes, type FoundHashes, ODD_HASH } from '../../runs/config-hashes.ts';
import { createDokployClient, type DokployClientOptions, DokployError } from './dokploy-client.ts';
import { readVariable, setVariable } from './env-text.ts';
import { locate, type Place, type Projects } from './places.ts';

const VARIABLE = 'IAC_CONFIG_HASH';
/** How long the list of projects is good for finding places; what it says of environments is never kept. */
const PLACES_MS = 60_000;
const READS_AT_ONCE = 8;
/** For all requests of one read or write together. */
const LIMIT_MS = 30_000;

export function createDokployHashes(options: DokployClientOptions): ConfigHashes {
  const client = createDokployClient(options);
  let latest: { at: number; projects: Projects } | null = null;

  async function fetchProjects(signal: AbortSignal): Promise<Projects> {
    const projects = await client.projects(signal);
    latest = { at: performance.now(), projects };
    return projects;
  }

  async function save(place: Place, value: string, signal: AbortSignal): Promise<void> {
    // Read again right before: Dokploy has no conditional write, and other lines are other people's.
    const text = await client.environmentOf(place.composeId, signal);
    if (readVariable(text, VARIABLE) === value) return;
    await client.saveEnvironment(place.composeId, setVariable(text, VARIABLE, value), signal);
  }

  return {
    async read(services, outer) {
      const answer: FoundHashes = { found: new Map(), problems: new Map(), failure: null };
      const work = async (signal: AbortSignal): Promise<void> => {
        const projects = await fetchProjects(signal);
        const open: [string, Place][] = [];
        for (const service of services) {
          const located = locate(service, services, projects);
          if ('problem' in located) answer.problems.set(service, located.problem);
          else open.push([service, located.place]);
        }
        await eachAtOnce(open, signal, async ([service, { composeId, env }], ending) => {
          try {
            const text = env === undefined ? await client.environmentOf(composeId, ending) : (env ?? '');
            answer.found.set(service, hashIn(text));
          } catch (error) {
            if (!isAboutOne(error)) throw error;
            answer.problems.set(service, error.message);
          }
        });
      };
      try {
        await inTime(outer, work);
      } catch (error) {
        if (!(error instanceof DokployError)) throw error;
        answer.failure = describeError(error);
      }
      return answer;
    },

    write: ({ service, value }, services, outer) =>
      inTime(outer, async (signal) => {
        const kept = latest && performance.now() - latest.at < PLACES_MS ? latest.projects : null;
        const located = kept && locate(service, services, kept);
        if (located && 'place' in located) {
          try {
            return await save(located.place, value, signal);
          } catch (error) {
            // Its task made the application again, so that it has another id.
            if (!(error instanceof DokployError) || error.status !== 404) throw error;
          }
        }
        const now = locate(service, services, await fetchProjects(signal));
        if ('problem' in now) throw new RunnerError(`${capitalized(now.problem)}.`);
        await save(now.place, value, signal);
      }),
  };
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

/** True when Dokploy is well and only this compose service cannot be read: gone meanwhile, or not allowed. */
function isAboutOne(error: unknown): error is DokployError {
  return error instanceof DokployError && error.status !== null && error.status < 500;
}

/** Stops all at the first failure: where one request fails, a thousand would. */
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

function capitalized(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}
