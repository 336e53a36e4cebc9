/** The input of a deployment by Terraform or OpenTofu, and the summary of its plan. */

import type { CommandInput } from '../command.ts';

export const TOOLS = ['terraform', 'tofu'] as const;

export type Tool = (typeof TOOLS)[number];

/** Names a tool as the signs of life of machines do: with a version for TOOLS_DIR, without for the PATH. */
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
  /** The time limit of each command. */
  timeoutMs: number;
  /** Apply without an approval. It needs a role that may approve. */
  autoApprove: boolean;
  /** Gets the events of the deployment; null if nobody wants them. */
  callbackUrl: string | null;
  /**
   * The comment that requested it. The commit is in the operator's own repository, and is planned and applied only while
   * the pull request allows it.
   */
  asked?: CommandInput;
  /** True if an operator requested it, who must not get secrets of a server: it needs a wall, or trust in operators. */
  needsWall?: boolean;
}

/** The parts of a request that no file may show. They are sealed before they are stored. */
export interface DeploySecrets {
  environment: Record<string, string>;
  git: GitAuth | null;
  /** Already split, without a shell. `-var` and `-backend-config` may contain credentials. */
  initFlags: string[];
  planFlags: string[];
}

/** A plan that was shown. It is applied if the folder of the run is missing, as after a reboot or on another machine. */
export interface KeptPlan {
  /** The plan file, base64. */
  file: string;
  /** The lock file of providers with which the plan was made, or null. */
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

/** The numbers of a plan for programs, and the list of its resources. */
export interface PlanSummary {
  add: number;
  change: number;
  destroy: number;
  /** How many of the added and destroyed ones are the same resource. */
  replace: number;
  /** These change only the state. Left out if there are none. */
  import?: number;
  forget?: number;
  move?: number;
  /** The objects that changed outside the tool, if the plan only writes that into the state. */
  refresh?: number;
  resources: { address: string; action: ResourceAction }[];
  /** How many resources are left out of the list to keep it small. */
  omitted: number;
  /** Outputs that would change. */
  outputs: string[];
}

const STATE_CHANGES = ['import', 'forget', 'move', 'refresh'] as const;
export type StateChange = (typeof STATE_CHANGES)[number];

/** Returns true for a plan without a summary, too, because it may change anything. */
export function hasChanges(summary: PlanSummary | null): boolean {
  if (summary === null || summary.add + summary.change + summary.destroy > 0) return true;
  return summary.outputs.length > 0 || stateChanges(summary).length > 0;
}

/** Lists the changes of only the state, in words such as "1 to import". */
export function stateChanges(summary: Pick<PlanSummary, StateChange>): string[] {
  return STATE_CHANGES.flatMap((action) => {
    const count = summary[action] ?? 0;
    return count > 0 ? [`${count} to ${action}`] : [];
  });
}

/** The value of an output as in `output -json`; null instead of a sensitive one. */
export interface DeployOutput {
  sensitive: boolean;
  type: unknown;
  value: unknown;
}
