/** Finds the mistakes in a configuration file that its fields do not show one by one. */

import { repositoryKey } from '../repository-names.ts';
import type { ConfigFields, EnvironmentFields, RepositoryFields } from './config-fields.ts';
import { nameOf } from './file-names.ts';

export interface Problem {
  path: PropertyKey[];
  message: string;
}

interface Known {
  githubApiUrl: string;
  /** The variables that no task gets. */
  never: readonly string[];
}

/** The program gives these to each task itself. */
const OF_THE_PROGRAM = /^(?:IAC_.*|PYTHONPATH|PYTHONUNBUFFERED)$/;

export function problemsIn({ repositories = [] }: ConfigFields, known: Known): Problem[] {
  return [
    ...sameRepositories(repositories, known),
    ...repositories.flatMap(({ environments }, index) =>
      within(
        ['repositories', index, 'environments'],
        [
          ...sameNames(environments),
          ...wrongPromotions(environments),
          ...environments.flatMap((one, place) => within([place], wrongVariables(one, known))),
        ],
      ),
    ),
  ];
}

function within(path: PropertyKey[], problems: readonly Problem[]): Problem[] {
  return problems.map((problem) => ({ ...problem, path: [...path, ...problem.path] }));
}

/** GitHub does not tell names apart by capitals. */
function sameRepositories(all: readonly RepositoryFields[], { githubApiUrl }: Known): Problem[] {
  const urls = new Map<string, number>();
  const names = new Map<string, number>();
  return all.flatMap((one, index) => {
    const url = firstAt(urls, repositoryKey(one.url, githubApiUrl), index);
    const name = firstAt(names, nameOf(one, githubApiUrl).toLowerCase(), index);
    if (url !== null) {
      const message = `expected another repository; repositories.${url} is the same one`;
      return [{ path: ['repositories', index, 'url'], message }];
    }
    if (name === null) return [];
    const field = one.name === undefined ? 'url' : 'name';
    const message = `expected another \`name\`; repositories.${name} has the name ${nameOf(one, githubApiUrl)}, too`;
    return [{ path: ['repositories', index, field], message }];
  });
}

/** The index that has the same key, or null if this one is the first. */
function firstAt(seen: Map<string, number>, key: string, index: number): number | null {
  const first = seen.get(key);
  if (first === undefined) seen.set(key, index);
  return first ?? null;
}

function sameNames(all: readonly EnvironmentFields[]): Problem[] {
  const seen = new Map<string, number>();
  return all.flatMap(({ name }, index) => {
    if (firstAt(seen, name, index) === null) return [];
    return [{ path: [index, 'name'], message: `expected another name; ${name} is there twice` }];
  });
}

function wrongPromotions(all: readonly EnvironmentFields[]): Problem[] {
  const sources = new Map(all.map(({ name, promote }) => [name, promote]));
  const reported = new Set<string>();
  return all.flatMap(({ name, promote }, index) => {
    if (promote === undefined) return [];
    const path = [index, 'promote'];
    if (promote === name) return [{ path, message: 'expected another environment than itself' }];
    if (!sources.has(promote)) {
      const others = [...sources.keys()].filter((other) => other !== name);
      return [
        {
          path,
          message: `expected the name of another environment here: ${others.join(', ') || 'there is none'}`,
        },
      ];
    }
    const circle = circleFrom(name, sources);
    if (circle === null || reported.has(name)) return [];
    for (const one of circle) reported.add(one);
    return [{ path, message: `expected no circle of promotions: ${[...circle, name].join(' → ')}` }];
  });
}

/** The environments of the circle in which this one is, or null if it is in none. */
function circleFrom(name: string, sources: ReadonlyMap<string, string | undefined>): string[] | null {
  const trail = [name];
  for (let next = sources.get(name); next !== undefined; next = sources.get(next)) {
    if (next === name) return trail.length > 1 ? trail : null;
    if (trail.includes(next)) return null;
    trail.push(next);
  }
  return null;
}

function wrongVariables({ variables = {}, secrets = {} }: EnvironmentFields, { never }: Known): Problem[] {
  const names: [field: string, name: string][] = [
    ...Object.keys(variables).map((name): [string, string] => ['variables', name]),
    ...Object.keys(secrets).map((name): [string, string] => ['secrets', name]),
  ];
  const wrong = names.flatMap(([field, name]) => {
    const message = problemOfName(name, never);
    return message === null ? [] : [{ path: [field, name], message }];
  });
  const both = Object.keys(secrets).filter((name) => Object.hasOwn(variables, name));
  return [
    ...wrong,
    ...both.map((name) => ({
      path: ['secrets', name],
      message: `expected another name; \`variables\` has ${name}, too`,
    })),
    ...Object.entries(secrets).flatMap(([name, secret]) =>
      'env' in secret && never.includes(secret.env)
        ? [
            {
              path: ['secrets', name, 'env'],
              message: `expected another variable; tasks never get ${secret.env}`,
            },
          ]
        : [],
    ),
  ];
}

function problemOfName(name: string, never: readonly string[]): string | null {
  if (never.includes(name)) return `expected another name; tasks never get ${name}`;
  return OF_THE_PROGRAM.test(name) ? `expected another name; iac-runner itself sets ${name}` : null;
}
