/** Says what a rule of the operator tells of a notice. Pure. */

import type { NotifyRule } from '../../config/notify.ts';
import { DEFAULT_ENVIRONMENT } from '../../runs/sync/hold.ts';
import type { Notice } from './notice.ts';

/** Returns what of the notice the rule asks for, or null. A break-glass promotion is told by every rule of its environment. */
export function noticeFor(rule: NotifyRule, notice: Notice): Notice | null {
  const { event, environment, services } = notice;
  if (event !== 'break_glass' && !rule.events.includes(event)) return null;
  const isDeployment = notice.kind === 'deployment';
  if (rule.environments !== null) {
    if (isDeployment || !rule.environments.includes(environment ?? DEFAULT_ENVIRONMENT)) return null;
  }
  if (rule.services === null) return notice;
  if (isDeployment) return null;
  // What is about no service in particular is about all of them.
  if (services.length === 0) return notice;
  const named = services.filter(({ service }) => rule.services?.includes(service));
  return named.length === 0 ? null : { ...notice, services: named };
}
