/* The keys of every page with a list: j and k go through the rows, / leads to the search, ? lists the keys. */

const ROWS = '#main .run-row, #main .tile';
const STORED = 'iac-runner-keys';
const KEYS = [
  ['j', 'next row'],
  ['k', 'previous row'],
  ['/', 'search, where a page has one'],
  ['?', 'these keys'],
  ['Escape', 'close'],
];

/** The address that the last row led to. The row may have moved or been made again since. */
let lastAddress = null;

function mainPart(row) {
  if (row.matches('a, button')) return row;
  const part = row.querySelector('a.run-title') ?? row.querySelector('a, summary, button');
  if (part !== null) return part;
  row.tabIndex = -1;
  return row;
}

function move(by) {
  const rows = [...document.querySelectorAll(ROWS)];
  if (rows.length === 0) return;
  const current = rows.findIndex((row) => row.contains(document.activeElement));
  const remembered = rows.findIndex((row) => lastAddress !== null && mainPart(row).href === lastAddress);
  const from = current >= 0 ? current : remembered;
  const to = Math.min(Math.max(from + by, 0), rows.length - 1);
  const part = mainPart(rows[to]);
  lastAddress = part.href ?? null;
  part.focus();
}

function goToSearch() {
  const search = document.querySelector('[data-search]');
  search?.focus();
  search?.select();
  return search !== null;
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Single keys can be in the way of those who speak to their computer, so they can be turned off. */
function areOn() {
  try {
    return localStorage.getItem(STORED) !== 'off';
  } catch {
    return true;
  }
}

function turn(isOn) {
  try {
    localStorage.setItem(STORED, isOn ? 'on' : 'off');
  } catch {
    // The browser stores nothing for this page, so the keys stay on.
  }
}

function makeDialog() {
  const lines = KEYS.flatMap(([key, words]) => [
    element('dt', {}, element('kbd', {}, key)),
    element('dd', {}, words),
  ]);
  const box = element('input', { type: 'checkbox' });
  box.checked = areOn();
  box.addEventListener('change', () => turn(box.checked));
  const dialog = element(
    'dialog',
    { class: 'keys', 'aria-labelledby': 'keys-title' },
    element('h2', { id: 'keys-title' }, 'Keys'),
    element('dl', {}, ...lines),
    element('p', {}, element('label', {}, box, ' Use these keys on this computer')),
    element('form', { method: 'dialog' }, element('button', {}, 'Close')),
  );
  document.body.append(dialog);
  return dialog;
}

let dialog = null;

function showKeys() {
  dialog ??= makeDialog();
  if (!dialog.open) dialog.showModal();
}

/** Returns true if the key meant something here. */
function press(key) {
  if (key === 'j' || key === 'k') move(key === 'j' ? 1 : -1);
  else if (key === '/') return goToSearch();
  else if (key === '?') showKeys();
  else return false;
  return true;
}

function isTyping(target) {
  return target instanceof Element && target.closest('input, textarea, select, [contenteditable]') !== null;
}

document.addEventListener('keydown', (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (isTyping(event.target) || document.querySelector('dialog[open]') !== null || !areOn()) return;
  if (press(event.key)) event.preventDefault();
});

const button = element('button', { type: 'button', class: 'plain' }, 'Keys');
button.addEventListener('click', showKeys);
document.body.append(element('footer', { class: 'foot' }, button));
