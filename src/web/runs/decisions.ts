/** Approves and rejects runs in the name of the caller, and says who may. */

import type { Context } from 'hono';
import { RequestError } from '../../errors.ts';
import { kindOf } from '../../runs/kinds/kinds.ts';
import type { Run } from '../../runs/run.ts';
import type { DeployApi } from '../../triggers/deploy/deploy-api.ts';
import type { ActionResult } from '../../triggers/run-actions.ts';
import { hasRole, type Identity, type RunPageEnv } from '../access/access.ts';
import { callerOf } from '../access/guards.ts';
import { isBrowser } from '../frame/page-headers.ts';
import { readForm } from '../frame/read-body.ts';

/** `actor` is the name of the API token behind the request. */
export type RunAction = (runId: string, actor: string) => Promise<ActionResult>;

/** Who may approve or reject a run. */
export interface ApprovalRights {
  /** Returns why somebody may not, or null. */
  whyNot(run: Run, caller: { name: string; isAdmin: boolean }): string | null;
  /** Says who may, as the subject of a sentence. */
  deciders(run: Run): string;
}

function deciderOf(identity: Identity) {
  return { name: identity.name, isAdmin: hasRole(identity, 'admin') };
}

/** Says who may decide about the run, and whether the reader may. */
export function decidersFor(run: Run, identity: Identity | null, approvals: ApprovalRights) {
  const mayDecide = identity !== null && approvals.whyNot(run, deciderOf(identity)) === null;
  return { deciders: approvals.deciders(run), mayDecide };
}

interface DecisionOptions {
  decide: Pick<DeployApi, 'approve' | 'reject'>;
  approvals: ApprovalRights;
}

/** Returns the action that approves or rejects a run. */
export function decision(
  c: Context<RunPageEnv>,
  what: 'approve' | 'reject',
  { decide: { [what]: decide }, approvals }: DecisionOptions,
): RunAction {
  const isApproval = what === 'approve';
  return async (runId, actor) => {
    const { run } = c.var;
    if (!kindOf(run).approval) return { status: 'refused', reason: 'A run of this kind needs no approval.' };
    const whyNot = approvals.whyNot(run, deciderOf(callerOf(c)));
    if (whyNot !== null) throw new RequestError(403, whyNot);
    const missing = isApproval ? await missingConfirmation(c) : null;
    if (missing !== null) return { status: 'refused', reason: missing };
    const result = await decide(runId, actor);
    switch (result.status) {
      case 'done':
        return { status: 'accepted', run: result.run };
      case 'refused':
        return result;
      case 'ended':
        return { status: 'refused', reason: 'The run has already ended.' };
      case 'unknown':
        return { status: 'refused', reason: 'There is no such run.' };
    }
  };
}

/** Programs name the run that they approve. People press a button, so they type what would be gone. */
async function missingConfirmation(c: Context<RunPageEnv>): Promise<string | null> {
  const { run } = c.var;
  const confirmed = kindOf(run).approval?.confirmed?.(run.input) ?? null;
  if (confirmed === null) return null;
  const form = await readForm(c);
  if ((form === null && !isBrowser(c)) || form?.get('confirm') === confirmed) return null;
  return `Nothing was approved: type ${confirmed} to destroy it.`;
}
