/** What a plan of a pull request's head is asked for. */

import type { Tool } from './deployments/deployment.ts';

/** One root module to be planned. */
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
  /** Marks the comment; one comment for each. */
  planId: string;
  /** Null: every changed root of the commit, found at work time. */
  roots: PlanRoot[] | null;
  /** The head is another repository's: nothing of it runs until somebody approves this very commit. */
  fromFork: boolean;
  /** Whose token reads the repository and writes the comment: ours, or one that came sealed with the request. */
  credential: 'configured' | 'sealed';
  /** The request's own id, for whoever asked. */
  requestId: string | null;
}

/** What came with the request and may be in no file in the clear. */
export interface PlanSecrets {
  token: string;
}
