/* One connection for all tabs of a browser: it hears that something has changed, and tells every tab. */

const RETRY_MS = 5_000;
const tabs = new Set();
let isConnected = false;

function tell(message) {
  for (const tab of tabs) tab.postMessage(message);
}

function connect() {
  const stream = new EventSource('/changes');
  stream.addEventListener('open', () => {
    isConnected = true;
    tell('connected');
  });
  stream.addEventListener('change', () => tell('change'));
  stream.addEventListener('error', () => {
    isConnected = false;
    tell('lost');
    // The browser connects again by itself, unless the server has answered with an error.
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, RETRY_MS);
  });
}

self.addEventListener('connect', ({ ports: [tab] }) => {
  tabs.add(tab);
  tab.addEventListener('message', ({ data }) => {
    if (data === 'bye') tabs.delete(tab);
  });
  tab.start();
  if (isConnected) tab.postMessage('connected');
});

connect();
