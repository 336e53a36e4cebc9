/** Sums up a plan, for machines and in words, from the JSON of `show -json`. */

import { z } from 'zod';
import { parseJson } from '../../parse-json.ts';
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

/** The fields that are used of https://developer.hashicorp.com/terraform/internals/json-format */
const planSchema = z.object({
  resource_changes: z.array(resourceSchema).nullish(),
  resource_drift: z.array(z.object({ change: changeSchema })).nullish(),
  output_changes: z.record(z.string(), changeSchema).nullish(),
  /** True if an apply would do anything. Not every tool reports it. */
  applyable: z.boolean().nullish(),
});

type Plan = z.output<typeof planSchema>;

/** Returns null if the text is not the JSON of a plan. */
export function summarizePlan(json: string): PlanSummary | null {
  const plan = planSchema.safeParse(parseJson(json)).data;
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

/** Masks the addresses too, because the key of an instance may be any text. */
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

/** The number of objects in the state that a plan without changes would bring up to date. */
function refreshed({ resource_drift, applyable }: Plan): number {
  const drifted = (resource_drift ?? []).filter(({ change }) =>
    change.actions.some((one) => one !== 'no-op'),
  );
  if (applyable === false) return 0;
  return applyable === true ? Math.max(1, drifted.length) : drifted.length;
}

/** Describes a plan in the words of the tools: "1 to add, 0 to change, 2 to destroy". */
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

/** Returns no action for a no-op or a read of data. One resource can be imported or moved and changed at once. */
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
