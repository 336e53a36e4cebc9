/** The variables that the task of a service gets. */

import { isSecretVariable } from '../../process/environment.ts';
import type { Service } from '../rules/service-rules.ts';
import { digest } from '../rules/snapshot.ts';
import { environmentLines } from './config-hash.ts';

type Environment = Readonly<Record<string, string>>;

/** All variables, but of the secrets only those that the rule names, if it names any. */
export function environmentOf({ rule }: Pick<Service, 'rule'>, all: Environment): Environment {
  if (!rule.secrets) return all;
  const named = new Set(rule.secrets);
  const given = Object.entries(all).filter(
    ([name, value]) => named.has(name) || !isSecretVariable(name, value),
  );
  return Object.fromEntries(given);
}

/** The secrets of the environment that a service gets: those that its rule names, or all if it names none. */
export function secretsFor({ rule }: Pick<Service, 'rule'>, all: Environment): Environment {
  const { secrets } = rule;
  if (!secrets) return all;
  return Object.fromEntries(Object.entries(all).filter(([name]) => secrets.includes(name)));
}

/** Returns a function for the digest of a service's variables. */
export function environmentDigests(all: Environment): (service: Pick<Service, 'rule'>) => string {
  const known = new Map<readonly string[] | undefined, string>();
  return (service) => {
    const { secrets } = service.rule;
    const found = known.get(secrets) ?? digest(environmentLines(environmentOf(service, all)));
    known.set(secrets, found);
    return found;
  };
}
