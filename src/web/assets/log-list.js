/**
 * A list of which only the rows in view are in the document, however long it is. The rows are laid out by the browser,
 * so they may have any height; one of them, the anchor, has a known place, and the others follow from it.
 */

/** So many rows are kept ready above and below those in view. */
const SPARE_ROWS = 24;
/** Browsers have a limit for the height of an element, the lowest at about 17 million pixels. */
const MAX_HEIGHT = 15_000_000;
/** Rows that come into view while the reader scrolls fast are asked for after this time. */
const PATIENCE_MS = 60;

/**
 * `box` scrolls, `space` has the height of all rows, and `list` has the rows in view. `rows` has `count()`, `make(index)`
 * and `load(first, last)`; `onScroll(isAtEnd)` is called when the reader has scrolled.
 */
export function createList({ box, space, list }, rows, onScroll) {
  let first = 0;
  let top = 0;
  let made = new Map();
  let loadTimer = null;
  let loadedAt = 0;
  let rowHeight = 20;
  /** True from `toEnd` until the reader scrolls away: rows may still become higher when their text is read. */
  let isStuckToEnd = false;

  const last = () => first + list.children.length - 1;
  const inView = () => Math.ceil(box.clientHeight / rowHeight);
  const spaceHeight = () => Math.min(rows.count() * rowHeight, MAX_HEIGHT);

  /** The place of a row by its index alone. It is exact while all rows have one height. */
  function guessTop(index) {
    const scrolled = spaceHeight() - box.clientHeight;
    const before = rows.count() - box.clientHeight / rowHeight;
    return before > 0 && scrolled > 0 ? (index * scrolled) / before : index * rowHeight;
  }

  /** Shows the rows around the anchor, whose upper edge is at `anchorTop`. */
  function show(anchor, anchorTop) {
    const count = rows.count();
    first = Math.max(0, Math.min(anchor - SPARE_ROWS, count - 1));
    const end = Math.min(count, anchor + inView() + SPARE_ROWS);
    const before = new Map([...made].filter(([, row]) => !row.classList.contains('unread')));
    made = new Map();
    for (let index = first; index < end; index += 1) made.set(index, before.get(index) ?? rows.make(index));
    list.replaceChildren(...made.values());
    const sample = list.firstElementChild?.offsetHeight ?? 0;
    if (sample > 0 && !box.classList.contains('wrapped')) rowHeight = sample;
    place(anchorTop - (made.get(anchor)?.offsetTop ?? 0));
    loadSoon();
  }

  /** Puts the list at this place, and mends it if the first or the last row would otherwise be out of reach. */
  function place(wanted) {
    const height = list.offsetHeight;
    const isAtEnd = last() >= rows.count() - 1;
    const after = isAtEnd ? 0 : rowHeight;
    top = wanted;
    if (first === 0) top = 0;
    else if (wanted < box.clientHeight) top = Math.max(wanted, guessTop(first));
    else if (!isAtEnd && wanted + height > spaceHeight()) top = guessTop(first);
    const total = isAtEnd ? top + height : Math.max(spaceHeight(), top + height + after);
    space.style.height = `${Math.ceil(total)}px`;
    list.style.transform = `translateY(${top}px)`;
    if (Math.abs(top - wanted) >= 1) box.scrollTop += top - wanted;
  }

  function rowAt(y) {
    const found = [...made].findLast(([, row]) => row.offsetTop <= y);
    return found?.[0] ?? first;
  }

  function scrolled() {
    const y = box.scrollTop;
    const height = list.offsetHeight;
    const isNear = y >= top && y + box.clientHeight <= top + height;
    if (isNear) {
      const anchor = rowAt(y - top);
      const above = first === 0 ? SPARE_ROWS : anchor - first;
      const below = last() >= rows.count() - 1 ? SPARE_ROWS : last() - rowAt(y + box.clientHeight - top);
      if (Math.min(above, below) < SPARE_ROWS / 4) show(anchor, top + (made.get(anchor)?.offsetTop ?? 0));
    } else jump(y);
    isStuckToEnd &&= isAtEnd();
    onScroll(isAtEnd());
  }

  function jump(y) {
    const most = spaceHeight() - box.clientHeight;
    if (y >= most - 1) return toEnd();
    const exact = (y / Math.max(1, most)) * (rows.count() - box.clientHeight / rowHeight);
    const anchor = Math.max(0, Math.floor(exact));
    show(anchor, y - (exact - anchor) * rowHeight);
  }

  /** True at the end of what has its place by now. Lines that came since do not count, or nobody could stay there. */
  function isAtEnd() {
    return box.scrollHeight - box.scrollTop - box.clientHeight < rowHeight * 2;
  }

  function toEnd() {
    const start = Math.max(0, rows.count() - inView());
    show(start, guessTop(start));
    box.scrollTop = box.scrollHeight;
    isStuckToEnd = true;
  }

  /** Reads the rows that are shown without their text, at once or when the reader has scrolled on. */
  function loadSoon() {
    if (loadTimer !== null) return;
    const wait = performance.now() - loadedAt > PATIENCE_MS ? 0 : PATIENCE_MS;
    loadTimer = setTimeout(async () => {
      loadTimer = null;
      loadedAt = performance.now();
      if (await rows.load(first, Math.max(0, last()))) update();
    }, wait);
  }

  /** Shows the rows again, because there are more lines, more of them are known, or `change` gives them another form. */
  function update(change = () => {}) {
    const anchor = rowAt(box.scrollTop - top);
    const anchorTop = top + (made.get(anchor)?.offsetTop ?? 0);
    change();
    if (isStuckToEnd) toEnd();
    else show(anchor, anchorTop);
  }

  box.addEventListener('scroll', scrolled, { passive: true });
  new ResizeObserver(() => update()).observe(box);
  return {
    update,
    toEnd,
    /** Shows other rows from their start. */
    restart() {
      made.clear();
      isStuckToEnd = false;
      box.scrollTop = 0;
      show(0, 0);
    },
    /** Shows this row in the upper part of the box. */
    toRow(index) {
      isStuckToEnd = false;
      made.clear();
      show(index, guessTop(index));
      box.scrollTop = top + (made.get(index)?.offsetTop ?? 0) - box.clientHeight / 3;
      scrolled();
    },
  };
}
