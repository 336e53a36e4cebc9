/** Pull requests as GitHub's API shows them. */

import { type ApiAnswer, refusal } from './github-statuses.ts';
import { buildPullRequestPayload } from './pull-request-payload.ts';

export interface PullRequestState {
  number: number;
  /** Full commit id. */
  head: string;
  /** Default: open. */
  state?: 'open' | 'closed';
  /** `owner/name` of the fork that the head is in. */
  fork?: string;
}

export interface PullBook {
  /** From now on GitHub knows the pull request, in this state. */
  set(pull: PullRequestState): void;
  get(number: number): ApiAnswer;
}

export function createPullBook({ fullName }: { fullName: string }): PullBook {
  const pulls = new Map<number, PullRequestState>();
  return {
    set: (pull) => void pulls.set(pull.number, pull),
    get(number) {
      const pull = pulls.get(number);
      if (!pull) return refusal(404, 'Not Found');
      const { state = 'open', ...rest } = pull;
      const payload = buildPullRequestPayload({ action: 'opened', fullName, ...rest });
      return { status: 200, body: { ...Object(payload.pull_request), state } };
    },
  };
}
