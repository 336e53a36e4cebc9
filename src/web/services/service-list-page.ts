/** The list of services: the commit of the last sync, how the last attempt ended, the pin and the drift of each. */

import { html } from 'hono/html';
import type { LedgerEntry } from '../../runs/run-store.ts';
import { becauseHeld, type Hold } from '../../runs/sync/hold.ts';
import { shortCommit } from '../../runs/texts/short-commit.ts';
import type { PageOptions } from '../access/guards.ts';
import { plainLine } from '../frame/ansi.ts';
import { type Html, type PageFrame, page } from '../frame/layout.ts';
import { holdForm, holdList } from '../holds/hold-list.ts';
import { commitLink, moment, runLink } from '../runs/run-words.ts';
import { servicePath } from './service-words.ts';

export interface ServiceState {
  service: string;
  /** Null for a service that was never synced. */
  entry: LedgerEntry | null;
  /** The commit that a rollback keeps it at, or null. */
  pin: string | null;
  /** The hold that stops it, or null. */
  hold: Hold | null;
  /** True while its task runs. */
  isSyncing: boolean;
  /** The state of the service in Dokploy, or null when it is not known. */
  outside: {
    /** The config hash there, or null for none. */
    found: string | null;
    /** True when it was changed there. */
    drifted: boolean;
    /** True when ours still has to be written there. */
    owed: boolean;
    problem: string | null;
    since: number;
  } | null;
}

/** The services of one environment. */
interface EnvironmentView {
  /** Null for the unnamed one. */
  environment: string | null;
  repository: string;
  services: ServiceState[];
}

export interface ServiceListView {
  frame: Omit<PageFrame, 'title'>;
  environments: readonly EnvironmentView[];
  /** What is not configured any more, and stays as it is. */
  gone: readonly string[];
  /** The holds that stand. */
  holds: readonly Hold[];
  now: number;
  commitUrl: PageOptions['commitUrl'];
}

/** The state gives the colour, the word is shown. */
const OUTCOMES: Record<LedgerEntry['outcome'], [state: string, word: string]> = {
  started: ['running', 'started'],
  succeeded: ['succeeded', 'synced'],
  failed: ['failed', 'failed'],
  cancelled: ['cancelled', 'cancelled'],
  removed: ['removed', 'removed'],
};

export function serviceListPage(view: ServiceListView): Html {
  const { frame, environments, gone, holds } = view;
  const services = environments.flatMap((one) => one.services);
  const drifted = services.filter(({ outside }) => outside?.drifted).map(({ service }) => service);
  return page(
    { ...frame, title: 'Services', watches: true },
    html`<h1>Services</h1>
${
  holds.length > 0 &&
  html`<h2>Holds</h2>
${holdList({ holds, identity: frame.identity, now: view.now })}
<h2>All services</h2>`
}
${drifted.length > 0 && html`<p class="problem">Changed outside: ${plainLine(drifted.join(', '))}</p>`}
${environments.map((one) => environmentPart(one, view))}
${gone.length > 0 && html`<p class="quiet">Not configured any more, and left as it is: <bdi>${plainLine(gone.join(', '))}</bdi></p>`}
${holdForm(frame.identity)}`,
  );
}

function environmentPart(one: EnvironmentView, view: ServiceListView): Html {
  const { environment, repository, services } = one;
  const isOnlyRepository = new Set(view.environments.map((other) => other.repository)).size === 1;
  const name = isOnlyRepository ? environment : `${environment} of ${repository}`;
  return html`${environment !== null && html`<h2 id="${environment}"><bdi>${plainLine(name ?? '')}</bdi></h2>`}
${
  services.length === 0
    ? html`<p class="empty">No services yet. The first push or sync shows them.</p>`
    : html`<ul class="runs">${services.map((state) => serviceRow(state, one, view))}</ul>`
}`;
}

function serviceRow(state: ServiceState, one: EnvironmentView, view: ServiceListView): Html {
  const { service, entry } = state;
  const { now, commitUrl } = view;
  const { repository } = one;
  const place = view.environments.length > 1 ? one : null;
  const synced = entry?.synced;
  const [colour, word] = shownState(state);
  return html`<li class="run-row" data-service="${service}">
<span class="state" data-state="${colour}">${word}</span>
<div class="run-what">
<strong><a href="${servicePath(service, place)}"><bdi>${plainLine(service)}</bdi></a></strong>
${remarksOn(state).map((remark) => html`<span class="run-message">${plainLine(remark)}</span>`)}
</div>
<div class="run-where">
<span>${synced ? commitLink(synced.commit, commitUrl, repository) : html`<span class="quiet">never synced</span>`}</span>
<span class="quiet"><bdi>${plainLine(entry?.folder ?? '')}</bdi></span>
</div>
<div class="run-when">
<span>${synced && moment(synced.at, now)}</span>
<span>${entry && runLink(entry.attemptedRunId, html`Last run <span class="unseen">of ${plainLine(service)}</span>`)}</span>
</div>
</li>`;
}

/** A hold or a pin is shown instead of the last outcome, unless a task runs that began before it, or the last one failed. */
function shownState({ entry, hold, pin, isSyncing }: ServiceState): [state: string, word: string] {
  if (hold && !isSyncing) return ['held', 'held'];
  if (pin !== null && entry?.outcome === 'succeeded') return ['pinned', 'pinned'];
  return entry ? OUTCOMES[entry.outcome] : ['queued', 'never synced'];
}

function remarksOn({ entry, pin, hold, outside }: ServiceState): string[] {
  const remarks: string[] = [];
  if (hold) remarks.push(becauseHeld(hold));
  if (entry && entry.outcome !== 'succeeded' && entry.attemptedCommit !== '') {
    const times = entry.attempts > 1 ? `, ${entry.attempts} times` : '';
    remarks.push(`Last tried at ${shortCommit(entry.attemptedCommit)}${times}.`);
  }
  if (pin !== null) remarks.push(`Pinned to ${shortCommit(pin)} by a rollback, until it is unpinned.`);
  if (outside?.drifted) {
    const ours = entry?.synced?.configHash ?? 'the synced hash';
    remarks.push(`Changed outside: Dokploy has ${outside.found ?? 'no config hash'} in place of ${ours}.`);
  }
  if (outside?.owed) remarks.push('Its config hash still has to be written to Dokploy.');
  if (outside?.problem) remarks.push(`Dokploy: ${outside.problem}`);
  return remarks;
}
