/** Tells the services of one folder apart, at two commits or under two sets of rules. */

import type { Service } from '../rules/service-rules.ts';

/** The service that other rules make of the same folder. A folder may have several. */
export function sameService(others: readonly Service[] = [], { id, captures }: Service): Service | undefined {
  return (
    others.find((other) => other.id === id) ??
    others.find((other) => other.captures.service === captures.service) ??
    others[0]
  );
}

/** `there` are the services that the folder has now. */
export function whyRemoved(id: string, folder: string, there: readonly Service[]): string {
  const [service] = there;
  if (!service) return `${folder} is no longer in the repository; what it deployed is left as it is.`;
  const isFile = service.rule.match.slice(service.rule.match.lastIndexOf('/')).includes('{service}');
  return isFile
    ? `Its file is no longer in ${folder}; what it deployed is left as it is.`
    : `The rules call ${folder} ${service.id} now; what was deployed as ${id} is left as it is.`;
}
