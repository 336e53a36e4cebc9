/** Sums up a plan for machines and in words, from what `show -json` tells of it. */

import { z } from 'zod';
import type { PlanSummary, ResourceAction } from '../../runs/deployment.ts';

const MAX_RESOURCES = 500;

const changeSchema = z.object({ actions: z.array(z.string()) });

/** What is used of https://developer.hashicorp.com/terraform/internals/json-format; the rest may be anything. */
const planSchema = z.object({
  resource_changes: z.array(z.object({ address: z.string(), change: changeSchema })).nullish(),
  output_changes: z.record(z.string(), changeSchema).nullish(),
});

/** Null when the text is not what `show -json` gives of a plan: then nothing is claimed. */
export function summarizePlan(json: string): PlanSummary | null {
  const plan = planSchema.safeParse(parsed(json)).data;
  if (!plan) return null;
  const changes = (plan.resource_changes ?? []).flatMap(({ address, change }) => {
    const action = actionOf(change.actions);
    return action === null ? [] : [{ address, action }];
  });
  const count = (...wanted: ResourceAction[]) =>
    changes.filter(({ action }) => wanted.includes(action)).length;
  return {
    add: count('create', 'replace'),
    change: count('update'),
    destroy: count('delete', 'replace'),
    replace: count('replace'),
    resources: changes.slice(0, MAX_RESOURCES),
    omitted: Math.max(0, changes.length - MAX_RESOURCES),
    outputs: Object.entries(plan.output_changes ?? {})
      .filter(([, { actions }]) => actions.some((action) => action !== 'no-op'))
      .map(([name]) => name)
      .sort(),
  };
}

/** As the tools say it themselves: "1 to add, 0 to change, 2 to destroy". */
export function summaryWords(summary: PlanSummary | null): string {
  if (summary === null) return 'a plan that could not be summed up';
  const { add, change, destroy, outputs } = summary;
  if (add + change + destroy > 0) return `${add} to add, ${change} to change, ${destroy} to destroy`;
  return outputs.length > 0
    ? `${outputs.length} output${outputs.length === 1 ? '' : 's'} to change`
    : 'no changes';
}

/** Null for what changes nothing: no-op, reads of data, and what is only forgotten. */
function actionOf(actions: readonly string[]): ResourceAction | null {
  const creates = actions.includes('create');
  const deletes = actions.includes('delete');
  if (creates && deletes) return 'replace';
  if (creates) return 'create';
  if (deletes) return 'delete';
  return actions.includes('update') ? 'update' : null;
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}
