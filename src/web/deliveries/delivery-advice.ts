/** Says what to do about a delivery that led to no run. */

import type { Delivery } from '../../runs/delivery.ts';

/** The first rule whose pattern is in the detail applies. */
const RULES: readonly (readonly [Delivery['decision'], RegExp, string])[] = [
  [
    'refused',
    /signature/i,
    'If GitHub sent it, enter the value of WEBHOOK_SECRET as the secret of the webhook, and press Redeliver there.',
  ],
  [
    'refused',
    /content type|json|payload/i,
    'Choose the content type application/json for the webhook on GitHub.',
  ],
  [
    'refused',
    /./,
    'If GitHub sent it, compare the settings of the webhook there with those in docs/webhook.md.',
  ],
  ['ignored', /^Event ping/, 'You don’t have to do anything: GitHub sends it when the webhook is saved.'],
  [
    'ignored',
    /^Event (pull_request|issue_comment)/,
    'Turn on PREVIEWS, PLANS or COMMENT_COMMANDS if the server should answer it, or leave this event out of the webhook.',
  ],
  ['ignored', /^Event /, 'Leave this event out of the webhook on GitHub, so that it is not sent any more.'],
  [
    'ignored',
    /^Not repository/,
    'If the server should sync this repository, name it in GITHUB_REPOSITORY or CONFIG_FILE.',
  ],
  [
    'ignored',
    /^Not /,
    'If the server should follow this branch or tag, name it in GIT_BRANCH or CONFIG_FILE.',
  ],
  ['ignored', /./, 'You don’t have to do anything.'],
  [
    'no_changes',
    /./,
    'If a service should have been synced, look at its paths in .iac-runner.yaml, or sync it by its name.',
  ],
  [
    'missed',
    /./,
    'Press Redeliver on GitHub. The next comparison with the branch finds its commits in any case.',
  ],
];

/** Returns null if the delivery led to a run. */
export function adviceFor({ decision, detail }: Pick<Delivery, 'decision' | 'detail'>): string | null {
  return RULES.find(([ruled, pattern]) => ruled === decision && pattern.test(detail))?.[2] ?? null;
}
