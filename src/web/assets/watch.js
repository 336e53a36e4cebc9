/* Keeps a page up to date: reads it again whenever something has changed, and lets its times age. */

const AGE_MS = 30_000;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const script = document.querySelector('script[data-worker]');
const main = document.getElementById('main');
let isReading = false;
let isOutdated = false;

/** Elements with an id or at the same place are exchanged one by one, so that what the reader uses stays. */
async function readAgain() {
  if (isReading) {
    isOutdated = true;
    return;
  }
  isReading = true;
  isOutdated = false;
  try {
    const answer = await fetch(location.href, { headers: { Accept: 'text/html' } });
    if (answer.ok && !answer.redirected)
      show(new DOMParser().parseFromString(await answer.text(), 'text/html'));
  } catch {
    // The server is away. The stream says so, and the page is read again when it is back.
  } finally {
    isReading = false;
  }
  if (isOutdated && !document.hidden) void readAgain();
}

function show(fresh) {
  const target = fresh.getElementById('main');
  if (target === null) return;
  exchange(main, target);
  age();
}

/** Leaves alone what is the same, what somebody types into, and the line about the connection. */
function exchange(old, fresh) {
  if (old.isEqualNode(fresh) || old.id === 'connection') return;
  const kept = [...old.children];
  const next = [...fresh.children];
  const isSameShape =
    kept.length > 0 &&
    kept.length === next.length &&
    kept.every((child, n) => child.tagName === next[n].tagName);
  if (isSameShape && sameText(old, fresh)) {
    copyAttributes(old, fresh);
    for (const [n, child] of kept.entries()) exchange(child, next[n]);
    return;
  }
  if (old.querySelector('input:focus, textarea:focus, select:focus')) return;
  if (old === main) main.replaceChildren(...fresh.childNodes);
  else old.replaceWith(fresh);
}

/** True if the text directly in both elements, outside their children, is the same. */
function sameText(old, fresh) {
  const own = ({ childNodes }) =>
    [...childNodes].map((node) => (node.nodeType === Node.TEXT_NODE ? node.data.trim() : '|')).join('');
  return own(old) === own(fresh);
}

function copyAttributes(old, fresh) {
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes)
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
}

/** Says how long ago something was, in the words of the server. */
function ageWords(passed) {
  if (passed < MINUTE) return 'just now';
  if (passed < HOUR) return `${Math.floor(passed / MINUTE)} min ago`;
  if (passed < 2 * DAY) return `${Math.floor(passed / HOUR)} h ago`;
  return `${Math.floor(passed / DAY)} d ago`;
}

function age() {
  for (const time of document.querySelectorAll('time[datetime]')) {
    const at = new Date(time.dateTime);
    time.title = at.toLocaleString();
    if (/ago$|^just now$/.test(time.textContent)) time.textContent = ageWords(Date.now() - at.getTime());
  }
}

function onMessage(message) {
  const line = document.getElementById('connection');
  if (line) line.textContent = message === 'lost' ? 'Reconnecting…' : '';
  if (message !== 'change') return;
  if (document.hidden) isOutdated = true;
  else void readAgain();
}

function watch() {
  if (typeof SharedWorker === 'function') {
    const { port } = new SharedWorker(script.dataset.worker);
    port.addEventListener('message', ({ data }) => onMessage(data));
    port.start();
    addEventListener('pagehide', () => port.postMessage('bye'));
    return;
  }
  const stream = new EventSource('/changes');
  stream.addEventListener('open', () => onMessage('connected'));
  stream.addEventListener('change', () => onMessage('change'));
  stream.addEventListener('error', () => onMessage('lost'));
}

document.addEventListener('submit', (event) => {
  const question = event.submitter?.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});
document.addEventListener('visibilitychange', () => {
  if (!document.hidden && isOutdated) void readAgain();
});
age();
setInterval(age, AGE_MS);
if (main) watch();
