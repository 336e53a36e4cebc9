/** Sums up a plan for machines and in words, from what `show -json` tells of it. */

import { z } from 'zod';
import {
  hasChanges,
  type PlanSummary,
  type ResourceAction,
  stateChanges,
} from '../../runs/deployments/deployment.ts';

const MAX_RESOURCES = 500;

const changeSchema = z.object({ actions: z.array(z.string()) });
const resourceSchema = z.object({
  address: z.string(),
  previous_address: z.string().nullish(),
  change: changeSchema.extend({ importing: z.unknown().optional() }),
});

/** What is used of https://developer.hashicorp.com/terraform/internals/json-format; the rest may be anything. */
const planSchema = z.object({
  resource_changes: z.array(resourceSchema).nullish(),
  resource_drift: z.array(z.object({ change: changeSchema })).nullish(),
  output_changes: z.record(z.string(), changeSchema).nullish(),
  /** Whether an apply would do anything; not every tool says so. */
  applyable: z.boolean().nullish(),
});

type Plan = z.output<typeof planSchema>;

/** Null when the text is not what `show -json` gives of a plan: then nothing is claimed. */
export function summarizePlan(json: string): PlanSummary | null {
  const plan = planSchema.safeParse(parsed(json)).data;
  if (!plan) return null;
  const changes = (plan.resource_changes ?? []).flatMap((resource) =>
    actionsOf(resource).map((action) => ({ address: resource.address, action })),
  );
  const count = (...wanted: ResourceAction[]) =>
    changes.filter(({ action }) => wanted.includes(action)).length;
  const summary: PlanSummary = {
    add: count('create', 'replace'),
    change: count('update'),
    destroy: count('delete', 'replace'),
    replace: count('replace'),
    ...some('import', count('import')),
    ...some('forget', count('forget')),
    ...some('move', count('move')),
    resources: changes.slice(0, MAX_RESOURCES),
    omitted: Math.max(0, changes.length - MAX_RESOURCES),
    outputs: Object.entries(plan.output_changes ?? {})
      .filter(([, { actions }]) => actions.some((action) => action !== 'no-op'))
      .map(([name]) => name)
      .sort(),
  };
  return hasChanges(summary) ? summary : { ...summary, ...some('refresh', refreshed(plan)) };
}

/** For people: an address may hold the key of an instance, and that anything. */
export function maskSummary(summary: PlanSummary | null, mask: (text: string) => string): PlanSummary | null {
  return (
    summary && {
      ...summary,
      resources: summary.resources.map(({ address, action }) => ({ address: mask(address), action })),
      outputs: summary.outputs.map(mask),
    }
  );
}

function some(name: 'import' | 'forget' | 'move' | 'refresh', count: number): Partial<PlanSummary> {
  return count > 0 ? { [name]: count } : {};
}

/** For a plan that proposes nothing: how many objects of the state it would bring up to date. */
function refreshed({ resource_drift, applyable }: Plan): number {
  const drifted = (resource_drift ?? []).filter(({ change }) =>
    change.actions.some((one) => one !== 'no-op'),
  );
  if (applyable === false) return 0;
  return applyable === true ? Math.max(1, drifted.length) : drifted.length;
}

/** As the tools say it themselves: "1 to add, 0 to change, 2 to destroy". */
export function summaryWords(summary: PlanSummary | null): string {
  if (summary === null) return 'a plan that could not be summed up';
  const { add, change, destroy, outputs } = summary;
  const counts =
    add + change + destroy > 0 ? [`${add} to add, ${change} to change, ${destroy} to destroy`] : [];
  const words = [...counts, ...stateChanges(summary)];
  if (words.length > 0) return words.join(', ');
  return outputs.length > 0
    ? `${outputs.length} output${outputs.length === 1 ? '' : 's'} to change`
    : 'no changes';
}

/** None for what changes nothing: no-op and reads of data. Something can be imported or moved and changed at once. */
function actionsOf({ address, previous_address, change }: z.output<typeof resourceSchema>): ResourceAction[] {
  const main = actionOf(change.actions);
  const isImported = change.importing !== undefined && change.importing !== null;
  const isMoved = typeof previous_address === 'string' && previous_address !== address;
  return [
    ...(isImported ? ['import' as const] : []),
    ...(isMoved ? ['move' as const] : []),
    ...(main ? [main] : []),
  ];
}

function actionOf(actions: readonly string[]): ResourceAction | null {
  const creates = actions.includes('create');
  const deletes = actions.includes('delete');
  if (creates && deletes) return 'replace';
  if (creates) return 'create';
  if (deletes) return 'delete';
  if (actions.includes('update')) return 'update';
  return actions.includes('forget') ? 'forget' : null;
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}
