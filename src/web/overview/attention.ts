/** The part of the overview that lists what needs somebody, and what to press. */

import { html } from 'hono/html';
import type { Run } from '../../runs/run.ts';
import type { ServiceStanding } from '../../runs/sync/standing.ts';
import { shortCommit } from '../../runs/texts/short-commit.ts';
import { environmentName } from '../../triggers/place.ts';
import { mayRetry } from '../../triggers/run-actions.ts';
import { hasRole } from '../access/access.ts';
import { plainLine } from '../frame/ansi.ts';
import type { Html } from '../frame/layout.ts';
import { holdList } from '../holds/hold-list.ts';
import { messageWords, moment, runLink, runPath, runTitle } from '../runs/run-words.ts';
import { servicePath } from '../services/service-words.ts';
import { type Failure, failureKey, type OverviewView, type ShownEnvironment } from './overview-view.ts';

export function attentionList(view: OverviewView): Html {
  const { awaiting, holds, frame, now, environments } = view;
  const failed = environments.flatMap((one) => rowsOf(one, view, 'failed'));
  const pinned = environments.flatMap((one) => rowsOf(one, view, 'pinned'));
  const rows = [...failed, ...awaiting.map((run) => awaitingRow(run, view)), ...pinned];
  if (rows.length === 0 && holds.length === 0) return html`<p class="empty">Nothing needs anybody.</p>`;
  return html`<section aria-labelledby="attention-title"><h2 id="attention-title">Needs somebody</h2>
${rows.length > 0 && html`<ul class="runs">${rows}</ul>`}
${holds.length > 0 && holdList({ holds, identity: frame.identity, now })}
</section>`;
}

function rowsOf(one: ShownEnvironment, view: OverviewView, state: 'failed' | 'pinned'): Html[] {
  return one.standing.services
    .filter((service) => service.state === state)
    .map((service) => serviceRow(service, one, view));
}

function serviceRow(service: ServiceStanding, { place }: ShownEnvironment, view: OverviewView): Html {
  const { state, message, lastRunId, synced } = service;
  const named = view.namesPlace ? place : null;
  const failure = failureOf(service, view);
  const line = failure?.line ?? null;
  return html`<li class="run-row">
<span class="state" data-state="${state}">${state}</span>
<div class="run-what">
<a class="run-title" href="${servicePath(service.service, named)}"><bdi>${plainLine(service.service)}</bdi></a>
<span class="run-message">${plainLine(message)}${line !== null && html`: <code>${line}</code>`}</span>
</div>
<div class="run-where">
<span>${synced ? html`at <code>${shortCommit(synced.commit)}</code>` : html`<span class="quiet">never synced</span>`}</span>
<span class="quiet">${named && environmentName(place)}</span>
</div>
<div class="run-when">
<span>${lastRunId !== null && runLink(lastRunId, html`Last run <span class="unseen">of ${plainLine(service.service)}</span>`)}</span>
<span>${retryForm(service, view)}${unpinForm(service, named, view)}</span>
</div>
</li>`;
}

function failureOf(
  { state, lastRunId, service }: ServiceStanding,
  { failures }: OverviewView,
): Failure | null {
  if (state !== 'failed' || lastRunId === null) return null;
  return failures.get(failureKey(lastRunId, service)) ?? null;
}

function retryForm(service: ServiceStanding, view: OverviewView): Html | null {
  const run = failureOf(service, view)?.run;
  if (!run || !mayRetry(run) || !hasRole(view.frame.identity, 'operator')) return null;
  return html`<form method="post" action="${runPath(run.id)}/retry"><button class="plain" type="submit" aria-label="Retry ${plainLine(service.service)}">Retry</button></form>`;
}

function unpinForm(
  { state, service }: ServiceStanding,
  named: ShownEnvironment['place'] | null,
  { frame }: OverviewView,
): Html | null {
  if (state !== 'pinned' || !hasRole(frame.identity, 'operator')) return null;
  return html`<form method="post" action="${servicePath(service, named, '/unpin')}"><button class="plain" type="submit" aria-label="Unpin ${plainLine(service)}">Unpin</button></form>`;
}

function awaitingRow(run: Run, { now }: OverviewView): Html {
  const environment = 'environment' in run.input ? (run.input.environment ?? '') : '';
  return html`<li class="run-row">
<span class="state" data-state="awaiting_approval">awaiting approval</span>
<div class="run-what">
<a class="run-title" href="${runPath(run.id)}"><bdi>${runTitle(run)}</bdi></a>
<span class="run-message">${messageWords(run.message)}</span>
</div>
<div class="run-where"><span class="quiet">${plainLine(environment)}</span></div>
<div class="run-when">
<span>${moment(run.createdAt, now)}</span>
<span>${runLink(run.id, html`Review <span class="unseen">${runTitle(run)}</span>`)}</span>
</div>
</li>`;
}
