/** Tells signed events of deployments to the operator's address and to those that deployments name. */

import { startTellingLoop, type TellingLoop, type TellingLoopOptions } from '../outbox/telling-loop.ts';
import { createEventTeller, type EventTellerOptions } from './event-teller.ts';

export interface EventWebhookOptions
  extends Omit<EventTellerOptions, 'onEnd'>,
    Pick<TellingLoopOptions, 'sleep' | 'onFailure'> {
  store: EventTellerOptions['store'] & TellingLoopOptions['store'];
}

export interface EventWebhooks {
  /** Ends the tries under way and returns. What is not told yet is told after the next start. */
  stop(): Promise<void>;
  /** Resolves when nothing stored by now is left to tell (told, or given up), or after stop. */
  idle(): Promise<void>;
}

/** To be started also when nothing can be told: deployments are then settled, so that they are not told later. */
export function startEventWebhooks(options: EventWebhookOptions): EventWebhooks {
  let loop: TellingLoop | null = null;
  const teller = createEventTeller({ ...options, onEnd: () => loop?.wake() });
  loop = startTellingLoop({
    ...options,
    tellers: [{ what: 'events of deployments', tellNext: teller.tellNext }],
  });
  const { idle, stop } = loop;
  return {
    idle,
    async stop() {
      await Promise.all([stop(), teller.stop()]);
    },
  };
}
