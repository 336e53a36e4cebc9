/** Keeps the page of a run up to date: appends log lines, updates states and durations. The page works without it. */

import { openLog, parseLineAddress } from './log-viewer.js';

const COUNT_DELAY_MS = 100;
const REFRESH_DELAY_MS = 400;
const RECONNECT_DELAY_MS = 5000;
/** The states of steps that end, and print nothing more. */
const ENDED = new Set(['succeeded', 'failed', 'timed_out', 'cancelled', 'skipped', 'blocked', 'removed']);

const run = document.querySelector('article.run');

/** Uses the same words as formatDuration on the server. */
function formatDuration(durationMs) {
  const duration = Math.max(0, durationMs);
  if (duration < 10_000) return `${(Math.floor(duration / 100) / 10).toFixed(1)} s`;
  const seconds = Math.floor(duration / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${String(seconds % 60).padStart(2, '0')} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}

function showElapsed() {
  for (const element of document.querySelectorAll('[data-since]')) {
    element.textContent = formatDuration(Date.now() - Date.parse(element.dataset.since));
  }
  for (const element of document.querySelectorAll('[data-until]')) {
    const left = Date.parse(element.dataset.until) - Date.now();
    element.textContent = left > 0 ? `${formatDuration(left)} left` : 'the time is up';
  }
}

function findStep(id) {
  return [...document.querySelectorAll('details.step')].find((step) => step.dataset.step === id);
}

/* The lines of a log come from the server when they are looked at. The event stream only says how many there are. */

const counts = new Map();
const viewers = new Map();
let countTimer = null;

function countLines({ step, lines }) {
  counts.set(step, countOf(step) + lines);
  if (countTimer === null) countTimer = setTimeout(() => void showCounts(), COUNT_DELAY_MS);
}

function countOf(id) {
  return counts.get(id) ?? Number(findStep(id)?.dataset.lines ?? 0);
}

async function showCounts() {
  countTimer = null;
  for (const [id, viewer] of viewers) (await viewer)?.grow(countOf(id));
}

/** A log that was not opened yet is shown from its end, or from the given line. */
async function showLog(step, start = null) {
  const { step: id, state } = step.dataset;
  if (viewers.has(id)) {
    if (start !== null) (await viewers.get(id)).goTo(start);
    return;
  }
  const isLive = run.dataset.events !== undefined && !ENDED.has(state);
  if (!isLive && countOf(id) === 0) return;
  viewers.set(id, openLog(step, { address: run.dataset.log, isLive, start, total: countOf(id) }));
}

/** Opens the step of the line in the address, and shows the line. */
async function showAddressedLine() {
  const line = parseLineAddress(location.hash);
  const step = line && findStep(line.step);
  if (!step) return;
  const shown = showLog(step, line.number);
  step.open = true;
  await shown;
  step.scrollIntoView({ block: 'nearest' });
}

/* Steps change in place. Everything else is fetched again from the server, which renders it. */

function applyStep(change) {
  const step = findStep(change.id);
  // The page that is being fetched may be older than this change.
  if (!step || fetching) refreshSoon();
  if (!step) return;
  const badge = step.querySelector('.state');
  badge.dataset.state = change.state;
  badge.textContent = change.state.replaceAll('_', ' ');
  step.dataset.state = change.state;
  step.querySelector('.step-message').textContent = describeStep(change);
  if (change.started_at) startStep(step, change);
  if (change.finished_at) stopClock(step, change);
}

function describeStep({ message, exit_code: exitCode }) {
  const isSaid = !exitCode || message.includes(`xit code ${exitCode}`);
  return isSaid ? message : `${message} · exit ${exitCode}`;
}

function startStep(step, { started_at: startedAt }) {
  const elapsed = document.createElement('span');
  elapsed.dataset.since = startedAt;
  step.querySelector('.step-duration').replaceChildren(elapsed);
  showElapsed();
  step.open = true;
}

function stopClock(step, { finished_at: finishedAt }) {
  const elapsed = step.querySelector('[data-since]');
  if (!elapsed) return;
  elapsed.textContent = formatDuration(Date.parse(finishedAt) - Date.parse(elapsed.dataset.since));
  delete elapsed.dataset.since;
}

let refreshTimer = null;
let fetching = false;

function refreshSoon() {
  if (refreshTimer === null) refreshTimer = setTimeout(refresh, REFRESH_DELAY_MS);
}

async function refresh() {
  refreshTimer = null;
  if (fetching) return refreshSoon();
  fetching = true;
  try {
    const address = new URL(location.href);
    address.searchParams.set('log', 'none');
    const response = await fetch(address, { headers: { Accept: 'text/html' } });
    if (response.ok && !response.redirected) {
      exchange(new DOMParser().parseFromString(await response.text(), 'text/html'));
    }
  } catch {
    // The server cannot be reached at the moment.
    setTimeout(refreshSoon, RECONNECT_DELAY_MS);
  } finally {
    fetching = false;
  }
}

/* Details that the reader opened or closed stay so. The others are as the server sends them, e.g. an open plan that waits. */
const openAtFirst = new WeakMap();

function noteOpen(part) {
  for (const details of part.querySelectorAll('details')) openAtFirst.set(details, details.open);
}

/** A step may have changed between the moment at which the server rendered it and the one at which it came here. */
function catchUp(shown, fresh) {
  if (shown.dataset.state === fresh.dataset.state) return;
  shown.dataset.state = fresh.dataset.state;
  if (fresh.open) shown.open = true;
}

function exchange(fresh) {
  document.title = fresh.title;
  const list = document.getElementById('step-list');
  for (const step of fresh.querySelectorAll('details.step')) {
    const shown = document.getElementById(step.id);
    if (shown) catchUp(shown, step);
    else list.append(document.importNode(step, true));
  }
  for (const part of fresh.querySelectorAll('[data-live]')) {
    const shown = document.getElementById(part.id);
    // Exchanging equal parts would take the focus away, and screen readers would read them again.
    if (!shown || shown.innerHTML === part.innerHTML) continue;
    const chosen = [...shown.querySelectorAll('details')].map((details) =>
      details.open === openAtFirst.get(details) ? null : details.open,
    );
    shown.replaceChildren(...[...part.childNodes].map((node) => document.importNode(node, true)));
    noteOpen(shown);
    shown.querySelectorAll('details').forEach((details, index) => {
      details.open = chosen[index] ?? details.open;
    });
  }
}

function showNotice({ level, message }) {
  const notice = document.createElement('p');
  notice.className = 'notice';
  notice.dataset.level = level;
  const label = document.createElement('strong');
  label.textContent = level;
  notice.append(label, ` ${message}`);
  document.getElementById('notices').append(notice);
}

/* The event stream. EventSource connects again by itself after a broken connection, but not after an error answer. */

function connect(path, after) {
  let last = after;
  const address = new URL(path, location.href);
  address.searchParams.set('after', last);
  address.searchParams.set('log', 'counts');
  const source = new EventSource(address);
  const on = (name, handle) => {
    source.addEventListener(name, (event) => {
      if (event.lastEventId !== '') last = event.lastEventId;
      handle(JSON.parse(event.data));
    });
  };
  on('output', countLines);
  on('step', applyStep);
  on('run', refreshSoon);
  on('explained', refreshSoon);
  on('planned', refreshSoon);
  on('outputs', refreshSoon);
  on('notice', showNotice);
  on('end', () => {
    source.close();
    delete run.dataset.events;
    refreshSoon();
  });
  source.onerror = () => {
    if (source.readyState !== EventSource.CLOSED || run.dataset.events === undefined) return;
    setTimeout(() => connect(path, last), RECONNECT_DELAY_MS);
  };
}

noteOpen(document);
document.addEventListener(
  'toggle',
  ({ target }) => {
    if (target.open && target.matches('details.step')) void showLog(target);
  },
  { capture: true },
);
window.addEventListener('hashchange', () => void showAddressedLine());
void showAddressedLine();
for (const step of document.querySelectorAll('details.step[open]')) void showLog(step);
if (run.dataset.events !== undefined) {
  connect(run.dataset.events, run.dataset.after);
  setInterval(showElapsed, 1000);
}
