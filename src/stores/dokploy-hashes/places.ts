/** Finds the compose service in Dokploy that belongs to a service. Pure. It reports a problem where it could only guess. */

import { z } from 'zod';

/**
 * The part of `project.all` that is used (https://docs.dokploy.com/docs/api/reference-project). Newer Dokploys
 * leave `env` out of this list; it is then read by `compose.one`.
 */
export const projectsSchema = z.array(
  z.object({
    name: z.string(),
    environments: z.array(
      z.object({
        compose: z.array(
          z.object({ composeId: z.string().min(1), name: z.string(), env: z.string().nullish() }),
        ),
      }),
    ),
  }),
);

export type Projects = z.output<typeof projectsSchema>;

/** A compose service. `env` is undefined if the list did not contain it. */
export interface Place {
  composeId: string;
  env: string | null | undefined;
}

export type Located = { place: Place } | { problem: string };

/**
 * Finds the place of a service. `platform/redis` is the compose service `redis`, else `platform-redis`, of the project
 * `platform`. If no project has that name, it is the only compose service of one of these names anywhere, as long as no
 * other of `services` could claim it. In every other case the result is a problem, in one sentence.
 */
export function locate(service: string, services: readonly string[], projects: Projects): Located {
  const slash = service.lastIndexOf('/');
  const project = service.slice(0, Math.max(slash, 0));
  const last = service.slice(slash + 1);
  const own = projects.filter(({ name }) => name === project);
  const names = [last, `${project.replaceAll('/', '-')}-${last}`];
  for (const name of names) {
    const places = composesNamed(name, own.length > 0 ? own : projects);
    const [place] = places;
    if (!place) continue;
    const where = own.length > 0 ? `the project ${project}` : 'Dokploy';
    if (places.length > 1) return { problem: `${where} has ${places.length} compose services ${name}` };
    const rival = own.length === 0 && name === last ? namesake(service, services) : undefined;
    if (rival !== undefined) return { problem: `the compose service ${name} could also be ${rival}` };
    return { place };
  }
  const missing = own.length > 0 ? `the project ${project} has no` : 'Dokploy has no';
  return { problem: `${missing} compose service ${names.join(' or ')}` };
}

function composesNamed(name: string, projects: Projects): Place[] {
  return projects.flatMap(({ environments }) =>
    environments.flatMap(({ compose }) =>
      compose
        .filter((candidate) => candidate.name === name)
        .map(({ composeId, env }) => ({ composeId, env })),
    ),
  );
}

function namesake(service: string, services: readonly string[]): string | undefined {
  const last = service.slice(service.lastIndexOf('/'));
  return services.find((other) => other !== service && other.slice(other.lastIndexOf('/')) === last);
}
