/** Says which services a sync has chosen. */

import type { Explanation, ServiceDecision } from '../run-events.ts';

/** The decisions that the number in "Syncing N service(s)..." counts. */
const CHOSEN: ReadonlySet<ServiceDecision['decision']> = new Set([
  'run',
  'done',
  'blocked',
  'invalid',
] as const);

export function isChosen({ decision }: Pick<ServiceDecision, 'decision'>): boolean {
  return CHOSEN.has(decision);
}

/** Returns the ids of the services, each once. */
export function chosenServices(explanation: Pick<Explanation, 'services'> | null): string[] {
  const chosen = explanation?.services.filter(isChosen).map(({ service }) => service);
  return [...new Set(chosen)];
}
