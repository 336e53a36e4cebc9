/** Reads the lines of a log from the server: any line by its number, or only those that are errors. */

/** A page of lines is read at once. Line 1 is the first line of page 0. */
const PAGE_LINES = 200;
/** So many pages stay in memory, those read last. */
const MAX_PAGES = 100;

/** `ask(parameters)` resolves to the answer of the server. */
export function createAllLines(ask) {
  const pages = new Map();
  const reading = new Map();
  let total = 0;

  async function readPage(page) {
    const first = page * PAGE_LINES;
    // A page at the end of a log that grows is read to its end bit by bit.
    const had = pages.get(page) ?? [];
    const answer = await ask({ from: first + had.length + 1, lines: PAGE_LINES - had.length });
    total = Math.max(total, answer.total);
    pages.delete(page);
    pages.set(page, [...had, ...answer.lines]);
    for (const oldest of pages.keys()) {
      if (pages.size <= MAX_PAGES) break;
      pages.delete(oldest);
    }
  }

  function isRead(page) {
    const lines = pages.get(page)?.length ?? 0;
    return lines === PAGE_LINES || page * PAGE_LINES + lines >= total;
  }

  return {
    count: () => total,
    at: (index) => pages.get(Math.floor(index / PAGE_LINES))?.[index % PAGE_LINES],
    /** The place of the line with this number. */
    indexOf: (number) => number - 1,
    grow(lines) {
      total = Math.max(total, lines);
    },
    /** Resolves when more of these lines are known, and to false if all are known already. */
    async load(first, last) {
      const missing = [];
      for (let page = Math.floor(first / PAGE_LINES); page * PAGE_LINES <= last; page += 1) {
        if (!isRead(page)) missing.push(page);
      }
      for (const page of missing) {
        if (!reading.has(page)) {
          reading.set(
            page,
            readPage(page).finally(() => reading.delete(page)),
          );
        }
      }
      await Promise.all(missing.map((page) => reading.get(page)));
      return missing.length > 0;
    },
  };
}

/** The errors among the lines. They are read from the start on, as far as the reader scrolls. */
export function createErrorLines(ask) {
  const lines = [];
  let next = 1;
  let total = 0;
  let reading = null;
  let wasRead = false;

  async function readMore() {
    const answer = await ask({ errors: true, from: next, lines: PAGE_LINES });
    total = Math.max(total, answer.total);
    lines.push(...answer.lines);
    next = answer.next ?? answer.total + 1;
    wasRead = true;
  }

  return {
    count: () => lines.length,
    at: (index) => lines[index],
    indexOf: (number) => lines.findIndex((line) => line.number === number),
    grow(count) {
      total = Math.max(total, count);
    },
    async load(_first, last) {
      if (last < lines.length - 1 || (wasRead && next > total)) return false;
      reading ??= readMore().finally(() => {
        reading = null;
      });
      await reading;
      return true;
    },
  };
}
