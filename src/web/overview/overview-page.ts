/** The first page: what is live in each environment, what needs somebody, what runs, and the last pushes. */

import { html } from 'hono/html';
import type { Run } from '../../runs/run.ts';
import { SERVICE_STATES, type ServiceStanding, type ServiceState } from '../../runs/sync/standing.ts';
import { environmentName } from '../../triggers/place.ts';
import { plainLine } from '../frame/ansi.ts';
import { formatDuration } from '../frame/format.ts';
import { type Html, page } from '../frame/layout.ts';
import {
  commitLink,
  duration,
  runLink,
  runPath,
  runTitle,
  stateWord,
  triggerWords,
} from '../runs/run-words.ts';
import { servicePath, serviceWord } from '../services/service-words.ts';
import { attentionList } from './attention.ts';
import type { OverviewView, ShownEnvironment } from './overview-view.ts';

export function overviewPage(view: OverviewView): Html {
  const { frame, environments, pushes } = view;
  return page(
    { ...frame, title: 'Overview', watches: true },
    html`<h1>Overview</h1>
<p id="connection" class="quiet" role="status"></p>
${attentionList(view)}
${environments.map((one) => environmentPart(one, view))}
<section aria-labelledby="pushes-title"><h2 id="pushes-title">Last syncs</h2>
${pushes.length === 0 ? html`<p class="empty">No runs yet. A push to the branch starts the first one.</p>` : strip(pushes)}
</section>`,
  );
}

function environmentPart(one: ShownEnvironment, view: OverviewView): Html {
  const { place, standing } = one;
  const { services, problem, remarks } = standing;
  const name = plainLine(titleOf(one, view));
  const id = `environment-${view.environments.indexOf(one)}`;
  return html`<section class="environment" aria-labelledby="${id}" data-environment="${environmentName(place)}">
<h2 id="${id}"><bdi>${name}</bdi></h2>
<p class="headline">${headline(one, view)}</p>
${problem !== null && html`<p class="problem">The repository cannot be read: ${plainLine(problem)}</p>`}
${remarks.map((remark) => html`<p class="problem">${plainLine(remark)}</p>`)}
${runningPart(one, view)}
${services.length > 0 ? tiles(services, view, one) : problem === null && emptyState(one)}
</section>`;
}

function titleOf({ place }: ShownEnvironment, { environments }: OverviewView): string {
  const isOnlyRepository = new Set(environments.map((other) => other.place.repository)).size === 1;
  const name = place.environment ?? place.branch;
  return isOnlyRepository ? name : `${name} of ${place.repository}`;
}

/** For example: 10 of 12 at main (a34b4a5f), 1 failed, 1 pinned. */
function headline({ place, standing }: ShownEnvironment, { commitUrl }: OverviewView): Html {
  const { head, services } = standing;
  if (head === null) return html`<span class="quiet">The repository was not fetched yet.</span>`;
  const number = (state: ServiceState) => services.filter((one) => one.state === state).length;
  const others = SERVICE_STATES.filter((state) => state !== 'up_to_date' && number(state) > 0);
  return html`${number('up_to_date')} of ${services.length} at ${plainLine(place.branch)} (${commitLink(head.commit, commitUrl, place.repository)})${others.map(
    (state) =>
      html`, <span class="state" data-state="${state}">${number(state)} ${serviceWord(state)}</span>`,
  )} <span class="quiet"><bdi>${plainLine(head.subject)}</bdi></span>`;
}

function runningPart({ running, usualMs }: ShownEnvironment, { now }: OverviewView): Html | false {
  if (running === null) return false;
  const since = running.startedAt ?? now;
  const usual = usualMs === null ? '' : `, usually ${formatDuration(usualMs)}`;
  return html`<p class="now"><span class="state" data-state="running">running</span>
${runLink(running.id, html`<bdi>${runTitle(running)}</bdi>`)}
<span class="quiet">for ${duration({ startedAt: since, finishedAt: null }, now)}${usual}</span>
${usualMs !== null && html`<progress max="${usualMs}" value="${Math.min(usualMs, now - since)}" aria-label="Time against the usual one"></progress>`}</p>`;
}

function emptyState({ place, standing }: ShownEnvironment): Html {
  if (standing.head === null) {
    return html`<p class="empty">The server fetches the repository at its start. If this stays, look at <a href="/ready">/ready</a>.</p>`;
  }
  return html`<p class="empty">No folder of ${plainLine(place.branch)} is a service. Push a folder with a deploy.py, or write rules into .iac-runner.yaml; <code>iac-runner services</code> shows what they find.</p>`;
}

function tiles(services: readonly ServiceStanding[], view: OverviewView, { place }: ShownEnvironment): Html {
  const waves = Map.groupBy(services, ({ wave }) => wave);
  const named = view.namesPlace ? place : null;
  return html`<dl class="waves">${[...waves].map(
    ([wave, inWave]) =>
      html`<div><dt>wave ${wave}</dt><dd><ul class="tiles">${inWave.map(
        ({ service, state, message }) =>
          html`<li><a class="tile" data-state="${state}" href="${servicePath(service, named)}" title="${plainLine(message)}"><bdi>${plainLine(service)}</bdi> <span>${serviceWord(state)}</span></a></li>`,
      )}</ul></dd></div>`,
  )}</dl>`;
}

/** The oldest comes first, so that time goes to the right. */
function strip(pushes: readonly Run[]): Html {
  return html`<ol class="strip">${pushes.toReversed().map((run) => {
    const words = `${stateWord(run.state)}: ${runTitle(run)}, ${triggerWords(run)}`;
    return html`<li><a href="${runPath(run.id)}" data-state="${run.state}" title="${words}"><span class="unseen">${words}</span></a></li>`;
  })}</ol>
<p class="quiet"><a href="/runs">All runs</a></p>`;
}
