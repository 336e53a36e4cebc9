/** The page of a service in one environment: its state, its history, what it needs, and what one can press. */

import { html } from 'hono/html';
import type { ServiceStanding } from '../../runs/sync/standing.ts';
import { shortCommit } from '../../runs/texts/short-commit.ts';
import { environmentName } from '../../triggers/place.ts';
import { hasRole } from '../access/access.ts';
import type { PageOptions } from '../access/guards.ts';
import { plainLine } from '../frame/ansi.ts';
import { formatDuration } from '../frame/format.ts';
import { type Html, type PageFrame, page } from '../frame/layout.ts';
import {
  commitLink,
  moment,
  runLink,
  runPath,
  stateBadge,
  stateWord,
  triggerWords,
} from '../runs/run-words.ts';
import { serviceBadge, servicePath } from './service-words.ts';
import { type EnvironmentNow, outcomeOf, type PastRun } from './standing-json.ts';

export interface ServiceView {
  frame: Omit<PageFrame, 'title'>;
  now: EnvironmentNow;
  service: ServiceStanding;
  history: readonly PastRun[];
  /** Milliseconds since the epoch. */
  at: number;
  commitUrl: PageOptions['commitUrl'];
  /** True if the address has to name the environment and the repository. */
  namesPlace: boolean;
}

export function servicePage(view: ServiceView): Html {
  const { frame, now, service, history } = view;
  const name = plainLine(service.service);
  const where = now.place.environment === null ? '' : ` in ${plainLine(environmentName(now.place))}`;
  return page(
    { ...frame, title: `${name}${where}`, watches: true },
    html`<h1><bdi>${name}</bdi>${where}</h1>
<p id="state">${serviceBadge(service.state)} <span class="message">${plainLine(service.message)}</span></p>
${facts(view)}
${actions(view)}
<h2 id="outcomes">Last outcomes</h2>
${history.length === 0 ? html`<p class="empty">No run has synced it yet.</p>` : strip(history)}
<h2 id="history">History</h2>
${history.length === 0 ? html`<p class="empty">Nothing yet.</p>` : historyTable(view)}`,
  );
}

function facts({ now, service, at, commitUrl, namesPlace }: ServiceView): Html {
  const { synced, behindBy, needs, neededBy, folder, pin, lastRunId } = service;
  const { repository } = now.place;
  const links = (ids: readonly string[]) =>
    ids.map(
      (id, n) =>
        html`${n > 0 && ', '}<a href="${servicePath(id, namesPlace ? now.place : null)}"><bdi>${plainLine(id)}</bdi></a>`,
    );
  const behind = behindBy === null || behindBy === 0 ? null : `${behindBy} commits behind the head`;
  const entries: [string, Html | string | null][] = [
    ['Synced', synced && html`${commitLink(synced.commit, commitUrl, repository)} ${moment(synced.at, at)}`],
    ['Distance', behind],
    ['Pinned to', pin && commitLink(pin, commitUrl, repository)],
    ['Folder', plainLine(folder)],
    ['Wave', String(service.wave)],
    ['Needs', needs.length === 0 ? null : html`${links(needs)}`],
    ['Needed by', neededBy.length === 0 ? null : html`${links(neededBy)}`],
    ['Last run', lastRunId && runLink(lastRunId, 'The run that tried it last')],
  ];
  return html`<dl class="facts">${entries.map(([term, value]) => value && html`<div><dt>${term}</dt><dd>${value}</dd></div>`)}</dl>`;
}

function actions({ frame, now, service, namesPlace }: ServiceView): Html {
  if (!hasRole(frame.identity, 'operator')) return html``;
  const place = namesPlace ? now.place : null;
  const holdLink = `/holds?service=${encodeURIComponent(service.service)}`;
  const retries = service.state === 'failed' && service.lastRunId !== null;
  return html`<div class="actions">
${retries && html`<form method="post" action="${runPath(service.lastRunId ?? '')}/retry"><button type="submit">Retry</button></form>`}
${
  service.pin !== null &&
  html`<form method="post" action="${servicePath(service.service, place, '/unpin')}"><button type="submit">Unpin</button></form>`
}
<form method="post" action="/sync">
<input type="hidden" name="services" value="${service.service}">
${place && html`<input type="hidden" name="environment" value="${environmentName(place)}"><input type="hidden" name="repository" value="${place.repository}">`}
<button type="submit">Sync</button>
</form>
<a href="${holdLink}">Hold</a>
</div>`;
}

/** The oldest outcome comes first, so that time goes to the right. */
function strip(history: readonly PastRun[]): Html {
  const words = ({ run, step }: PastRun) =>
    `${stateWord(outcomeOf({ run, step }))}, ${plainLine(run.subject ?? 'no subject')}${lengthWords({ run, step })}`;
  return html`<ol class="strip">${history
    .toReversed()
    .map(
      (past) =>
        html`<li><a href="${runPath(past.run.id)}" data-state="${outcomeOf(past)}" title="${words(past)}"><span class="unseen">${words(past)}</span></a></li>`,
    )}</ol>`;
}

function lengthWords({ step: { startedAt, finishedAt } }: PastRun): string {
  return startedAt === null || finishedAt === null ? '' : `, ${formatDuration(finishedAt - startedAt)}`;
}

function historyTable(view: ServiceView): Html {
  const { history, at, commitUrl, now } = view;
  return html`<ol class="runs" reversed>${history.map(
    (past) => html`<li class="run-row">
${stateBadge(outcomeOf(past))}
<div class="run-what">
<a class="run-title" href="${runPath(past.run.id)}"><bdi>${plainLine(past.run.subject ?? 'No commit yet')}</bdi></a>
<span class="run-message">${plainLine(past.step.message)}</span>
</div>
<div class="run-where">
<span>${past.run.revision && commitLink(past.run.revision, commitUrl, now.place.repository)}</span>
<span class="quiet">${triggerWords(past.run)}</span>
</div>
<div class="run-when">
<span>${moment(past.step.startedAt ?? past.run.createdAt, at)}</span>
<span>${rollBackForm(past, view)}</span>
</div>
</li>`,
  )}</ol>`;
}

/** Only an outcome to which one can go back has a button. */
function rollBackForm({ run, step }: PastRun, { frame, service, now, namesPlace }: ServiceView): Html | null {
  const isThere = run.revision === service.synced?.commit;
  if (!hasRole(frame.identity, 'operator') || step.state !== 'succeeded' || isThere) return null;
  if (run.revision === null) return null;
  const label = `Roll back to this: ${shortCommit(run.revision)}`;
  return html`<form method="post" action="${servicePath(service.service, namesPlace ? now.place : null, '/rollback')}">
<input type="hidden" name="to" value="${run.revision}">
<button class="plain" type="submit" aria-label="${label}" data-confirm="Take ${service.service} back to ${shortCommit(run.revision)}? Pushes leave it there until somebody unpins it.">Roll back to this</button>
</form>`;
}
