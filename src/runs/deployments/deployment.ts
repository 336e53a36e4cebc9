/** What a deployment by Terraform or OpenTofu is asked to do, and what is told of its plan. */

import type { CommandInput } from '../command.ts';

export const TOOLS = ['terraform', 'tofu'] as const;

export type Tool = (typeof TOOLS)[number];

/** As machines tell which they have: one of TOOLS_DIR by its version, the one on the PATH without. */
export function toolName({ tool, toolVersion }: Pick<DeployInput, 'tool' | 'toolVersion'>): string {
  return toolVersion === null ? tool : `${tool} ${toolVersion}`;
}

/** A drift check ends with its plan; nothing is approved or applied. */
export type DeployOperation = 'apply' | 'destroy' | 'drift';

export interface DeployInput {
  operation: DeployOperation;
  tool: Tool;
  /** A folder name under TOOLS_DIR, or null for the tool on the PATH. */
  toolVersion: string | null;
  /** Free of credentials: those are sealed beside the run. */
  gitUrl: string;
  /** Branch, tag or commit. */
  gitRef: string;
  /** The root module's folder in the checkout, "." for the top. */
  path: string;
  tfvarsFiles: string[];
  /** Of each command. */
  timeoutMs: number;
  /** Apply without asking: only whoever may approve may ask for that. */
  autoApprove: boolean;
  /** Told of what becomes of the deployment, or null. */
  callbackUrl: string | null;
  /**
   * The comment that asked for it: the commit is of the operator's own repository, and is planned and applied only
   * as long as the pull request allows it.
   */
  asked?: CommandInput;
  /** Requested by an operator, who may have no secret of a server: it runs only where a wall is, or operators are trusted. */
  needsWall?: boolean;
}

/** What a request brought that may be in no file in the clear. Sealed before it is stored. */
export interface DeploySecrets {
  environment: Record<string, string>;
  git: GitAuth | null;
  /** Already split, without a shell. Among them may be `-var` and `-backend-config` with credentials. */
  initFlags: string[];
  planFlags: string[];
}

/** Once it was shown: what is applied where the run's folder is not, as after a reboot or on another machine. */
export interface KeptPlan {
  /** The plan file, base64. */
  file: string;
  /** The lock file of providers that it was made with, or null. */
  lockFile: string | null;
}

export type GitAuth =
  | { type: 'http'; username: string; password: string }
  | { type: 'ssh'; privateKey: string; knownHosts: string | null };

export type ResourceAction =
  | 'create'
  | 'update'
  | 'delete'
  | 'replace'
  | 'read'
  | 'import'
  | 'forget'
  | 'move';

/** Of a plan, for machines: how many resources it adds, changes, destroys and replaces, and which. */
export interface PlanSummary {
  add: number;
  change: number;
  destroy: number;
  /** Of those added and destroyed: how many are the same resource. */
  replace: number;
  /** These change the state alone; left out when there are none. */
  import?: number;
  forget?: number;
  move?: number;
  /** Objects that changed outside of the tool, when the plan does nothing but write that into the state. */
  refresh?: number;
  resources: { address: string; action: ResourceAction }[];
  /** Resources left out of the list to keep it small. */
  omitted: number;
  /** Outputs that would change. */
  outputs: string[];
}

const STATE_CHANGES = ['import', 'forget', 'move', 'refresh'] as const;
export type StateChange = (typeof STATE_CHANGES)[number];

/** A plan that cannot be summed up may change anything. */
export function hasChanges(summary: PlanSummary | null): boolean {
  if (summary === null || summary.add + summary.change + summary.destroy > 0) return true;
  return summary.outputs.length > 0 || stateChanges(summary).length > 0;
}

/** What a plan does to the state alone, in words such as "1 to import". */
export function stateChanges(summary: Pick<PlanSummary, StateChange>): string[] {
  return STATE_CHANGES.flatMap((action) => {
    const count = summary[action] ?? 0;
    return count > 0 ? [`${count} to ${action}`] : [];
  });
}

/** An output's value as `output -json` gives it; null in place of a sensitive one. */
export interface DeployOutput {
  sensitive: boolean;
  type: unknown;
  value: unknown;
}
