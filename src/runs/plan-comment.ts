/** The input of a plan of a pull request's head. */

import type { Tool } from './deployments/deployment.ts';

/** A root module to plan. */
export interface PlanRoot {
  /** Its folder in the repository, "." for the top. */
  directory: string;
  tool: Tool;
  toolVersion: string | null;
}

/** The message of a plan that has nothing to say. */
export const NO_ROOT_CHANGED = 'No Terraform root is changed';

export interface PlanInput {
  /** `owner/name`. */
  repository: string;
  pullRequest: number;
  /** Full id of the head that is planned. */
  revision: string;
  headRef: string | null;
  baseRef: string | null;
  /** Free of credentials. */
  cloneUrl: string;
  /** Base of GitHub's API, no final slash. */
  apiUrl: string;
  /** The mark of the comment. Each id has one comment. */
  planId: string;
  /** Null: every changed root of the commit, found at work time. */
  roots: PlanRoot[] | null;
  /** True if the head is in another repository. Then nothing of it runs until somebody approves this very commit. */
  fromFork: boolean;
  /** The token that reads the repository and writes the comment: the configured one, or one sealed with the request. */
  credential: 'configured' | 'sealed';
  /** The id that the sender gave to the request. */
  requestId: string | null;
}

/** The parts of the request that no file may show. */
export interface PlanSecrets {
  token: string;
}
