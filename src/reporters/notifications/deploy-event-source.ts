/** The events of deployments, for the operator's address and for those that the deployments name. */

import type { DeployRun } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { type DeployFacts, deployEvents, eventText } from './deploy-events.ts';
import { eventId } from './event-id.ts';
import type { EventSource, EventTarget } from './event-source.ts';
import type { SendEvent } from './event-webhook-client.ts';

export interface DeployEventOptions {
  store: Pick<RunStore, 'latestEvent' | 'steps'>;
  /** Null if there is no secret to sign with. Then nothing is sent, and all deployments are settled. */
  sendEvent: SendEvent | null;
  /** The operator's own address, which gets the events of every deployment, or null. */
  url: string | null;
  /** The page that an event links to: absolute, http or https. */
  runUrl(runId: string): string;
}

type Place = Pick<EventTarget, 'url' | 'isOperators'> & { name: 'operator' | 'callback' };

const UNSIGNED = 'The event was not sent: EVENT_WEBHOOK_SECRET is not set.';

export function createDeployEventSource(options: DeployEventOptions): EventSource {
  const { store, sendEvent, runUrl } = options;
  const send = sendEvent ?? { problem: UNSIGNED };
  return {
    reporter: 'event-webhook',
    what: 'events of deployments',
    async targetsOf(run) {
      if (run.kind !== 'deploy') return [];
      const places = placesOf(options, run);
      if (places.length === 0) return [];
      // A run that waits in the queue has no events yet.
      if (run.startedAt === null && run.finishedAt === null) return null;
      const facts = await readFacts(store, run);
      const events = deployEvents(facts);
      return places.map((place) => ({
        ...place,
        send,
        events: events.map((event) => ({
          type: event.type,
          id: eventId(run.id, place.name, event.type),
          body: () => eventText(facts, event, runUrl(run.id)),
        })),
        isOver: events.at(-1)?.isLast === true,
      }));
    },
  };
}

function placesOf({ url }: DeployEventOptions, { input: { callbackUrl } }: DeployRun): Place[] {
  return [
    ...(url === null ? [] : [{ name: 'operator' as const, url, isOperators: true }]),
    ...(callbackUrl === null || callbackUrl === url
      ? []
      : [{ name: 'callback' as const, url: callbackUrl, isOperators: false }]),
  ];
}

async function readFacts(store: DeployEventOptions['store'], run: DeployRun): Promise<DeployFacts> {
  return {
    run,
    steps: await store.steps(run.id),
    awaiting: await store.latestEvent(run.id, 'run.awaiting_approval'),
    planned: await store.latestEvent(run.id, 'run.planned'),
    decided: await store.latestEvent(run.id, 'run.decided'),
  };
}
