/** Decides which runs a reader of the list looks for. */

import { askedRevision, type Run } from '../run.ts';
import { DEFAULT_ENVIRONMENT } from '../sync/hold.ts';
import { kindOf } from './kinds.ts';

/** What the list can be narrowed down to, besides kind and state. */
export interface RunSearch {
  /** The whole id of a service that is a step of the run, or that the request named. */
  service?: string;
  /** The name of an environment; `default` for the one without a name. */
  environment?: string;
  branch?: string;
  /** A part of the subject, of the actor, or of the id of a service, in small or capital letters; or the start of a commit. */
  text?: string;
}

/** True if the search cannot be answered by kind and state alone. */
export function isSearch({ service, environment, branch, text }: RunSearch): boolean {
  return [service, environment, branch, text].some((part) => part !== undefined);
}

/** `steps` are the ids of the steps of the run. */
export function isSearched(run: Run, steps: readonly string[], search: RunSearch): boolean {
  const { service, environment, branch, text } = search;
  const services = [...steps, ...requestedServices(run)];
  return (
    (service === undefined || services.includes(service)) &&
    (environment === undefined || environmentOf(run) === environment) &&
    (branch === undefined || kindOf(run).ref(run.input) === branch) &&
    (text === undefined || hasText(run, services, text.toLowerCase()))
  );
}

/** Returns null if the run is about no environment, such as a deployment. */
function environmentOf({ input }: Run): string | null {
  const named = 'environment' in input ? input.environment : undefined;
  return named ?? ('branch' in input ? DEFAULT_ENVIRONMENT : null);
}

function requestedServices({ input }: Run): readonly string[] {
  return 'services' in input && Array.isArray(input.services) ? input.services : [];
}

function hasText(run: Run, services: readonly string[], text: string): boolean {
  const title = kindOf(run).title?.(run) ?? null;
  const searched = [title, run.subject, run.trigger.actor, ...services];
  const commits = [run.revision, askedRevision(run)];
  return (
    searched.some((part) => part?.toLowerCase().includes(text)) ||
    commits.some((commit) => commit?.startsWith(text))
  );
}
