/** What the sender of events needs to know: which events there are about a run, and for whom. */

import type { ReporterName } from '../../runs/report.ts';
import type { Run } from '../../runs/run.ts';
import type { SendEvent } from './event-webhook-client.ts';

/** Something that happened to a run, as one address gets it. */
export interface OutgoingEvent {
  /** An address gets at most one event of a type about a run. */
  type: string;
  /** The same id each time this event is sent to this address, so that a receiver can drop duplicates. */
  id: string;
  /** Makes the text, which is JSON. */
  body(): string;
}

/** Everything about one run for one address. */
export interface EventTarget {
  /** The name in the report and on the run's page. The address is not shown, because it may hold a secret. */
  name: string;
  url: string;
  /** The events so far, the oldest first. */
  events: readonly OutgoingEvent[];
  /** No other event will follow these. */
  isOver: boolean;
  /** What sends there, or why nothing can. */
  send: SendEvent | { problem: string };
  /** The operator's own address may be any address. An address from a request must obey the rules. */
  isOperators: boolean;
}

/** Says which events there are. */
export interface EventSource {
  reporter: ReporterName;
  /** The name of the events in the log, for example "events of deployments". */
  what: string;
  /** The events of later runs wait for those of earlier ones, for an hour at most. Left out: they do not wait. */
  isInOrder?: true;
  /** An empty list settles the run. Null: there may be some later. Throws what the store throws. */
  targetsOf(run: Run): Promise<readonly EventTarget[] | null>;
}
