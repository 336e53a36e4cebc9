/** Keeps the page of a run up to date: appends log lines, updates states and durations. The page works without it. */

const MAX_LINES = 2000;
const APPEND_DELAY_MS = 50;
const REFRESH_DELAY_MS = 400;
const RECONNECT_DELAY_MS = 5000;

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

function scrollToEnd(step) {
  const box = step.querySelector('.log-box');
  box.scrollTop = box.scrollHeight;
}

function isAtEnd(box) {
  return box.scrollHeight - box.scrollTop - box.clientHeight < 40;
}

/* Log lines are collected for a moment, then appended together. Their text only becomes text nodes. */

const waiting = new Map();
let appendTimer = null;

function queueLine(stepId, line) {
  if (!waiting.has(stepId)) waiting.set(stepId, { lines: [], lost: 0 });
  const queue = waiting.get(stepId);
  queue.lines.push(line);
  if (queue.lines.length > 2 * MAX_LINES) {
    queue.lost += countNumbered(
      queue.lines.splice(0, queue.lines.length - MAX_LINES),
      ({ stream }) => stream,
    );
  }
  if (appendTimer === null) appendTimer = setTimeout(appendWaiting, APPEND_DELAY_MS);
}

function appendWaiting() {
  appendTimer = null;
  for (const [stepId, { lines, lost }] of waiting) {
    const step = findStep(stepId);
    // A step that is not on the page yet is added by the next refresh.
    if (!step) continue;
    waiting.delete(stepId);
    const box = step.querySelector('.log-box');
    const log = box.querySelector('.log');
    const follow = isAtEnd(box);
    if (lost > 0) forget(log, log.children.length, lost);
    log.append(...lines.map(lineElement));
    forget(log, log.children.length - MAX_LINES, 0);
    if (log.start > 1)
      box.querySelector('.cut').textContent = `Lines before ${log.start} are in the raw log.`;
    if (follow) box.scrollTop = box.scrollHeight;
  }
}

/** Counts the lines that have a number, which our own marks have not. */
function countNumbered(lines, streamOf) {
  return lines.filter((line) => streamOf(line) !== 'mark').length;
}

/** Removes the first `count` lines; `more` lines were never shown. The other lines keep their numbers. */
function forget(log, count, more) {
  const removed = [...log.children].slice(0, Math.max(0, count));
  if (removed.length + more === 0) return;
  log.start += more + countNumbered(removed, ({ className }) => className);
  for (const line of removed) line.remove();
}

function lineElement({ stream, spans }) {
  const line = document.createElement('li');
  line.className = stream;
  for (const { text, classes } of spans) {
    if (classes === undefined) {
      line.append(text);
      continue;
    }
    const span = document.createElement('span');
    span.className = classes;
    span.textContent = text;
    line.append(span);
  }
  return line;
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
  step.querySelector('.step-message').textContent = describeStep(change);
  if (change.started_at) startStep(step, change);
  if (change.finished_at) stopClock(step, change);
}

function describeStep({ message, exit_code: exitCode }) {
  return exitCode ? `${message} · exit ${exitCode}` : message;
}

function startStep(step, { id, started_at: startedAt }) {
  if (step.querySelector('.log').children.length > 0) {
    queueLine(id, { stream: 'mark', spans: [{ text: 'Started again' }] });
  }
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

function exchange(fresh) {
  document.title = fresh.title;
  const list = document.getElementById('step-list');
  for (const step of fresh.querySelectorAll('details.step')) {
    if (!document.getElementById(step.id)) list.append(document.importNode(step, true));
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
  appendWaiting();
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
  const source = new EventSource(address);
  const on = (name, handle) => {
    source.addEventListener(name, (event) => {
      if (event.lastEventId !== '') last = event.lastEventId;
      handle(JSON.parse(event.data));
    });
  };
  on('log', ({ step, stream, spans }) => queueLine(step, { stream, spans }));
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
for (const step of document.querySelectorAll('details.step')) {
  if (step.open) scrollToEnd(step);
  step.addEventListener('toggle', () => scrollToEnd(step), { once: true });
}
if (run.dataset.events !== undefined) {
  connect(run.dataset.events, run.dataset.after);
  setInterval(showElapsed, 1000);
}
