/** Makes the row of one line of a log. Texts of tasks only become text nodes. */

/** `10:04:05.120` in the reader's time zone. */
function clockTime(at) {
  const time = new Date(at);
  const two = (number) => String(number).padStart(2, '0');
  const seconds = `${two(time.getSeconds())}.${String(time.getMilliseconds()).padStart(3, '0')}`;
  return `${two(time.getHours())}:${two(time.getMinutes())}:${seconds}`;
}

/**
 * The number and the time are shown by the style sheet, so that neither is copied or found with the text. A line that
 * was not read yet has no row of its own kind, but takes its place.
 */
export function createRow(line, addressOf) {
  const row = document.createElement('li');
  if (line === undefined) {
    row.className = 'line unread';
    return row;
  }
  row.className = line.again ? `line ${line.stream} again` : `line ${line.stream}`;
  const number = document.createElement('a');
  number.className = 'number';
  number.href = addressOf(line.number);
  number.dataset.number = line.number;
  number.tabIndex = -1;
  number.setAttribute('aria-label', `Line ${line.number}`);
  const time = document.createElement('time');
  time.dateTime = line.at;
  time.title = line.at;
  time.dataset.time = clockTime(line.at);
  const text = document.createElement('span');
  text.className = 'text';
  text.append(...line.spans.map(spanNode));
  row.append(number, time, text);
  return row;
}

function spanNode({ text, classes }) {
  if (classes === undefined) return document.createTextNode(text);
  const span = document.createElement('span');
  span.className = classes;
  span.textContent = text;
  return span;
}
