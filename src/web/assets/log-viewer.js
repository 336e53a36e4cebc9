/** Shows the log of a step: any of its lines, with times, wrapped, only errors, to its end as it grows. */

import { createBar } from './log-bar.js';
import { createAllLines, createErrorLines } from './log-lines.js';
import { createList } from './log-list.js';
import { createRow } from './log-rows.js';
import { createSearch } from './log-search.js';

const RETRY_MS = 2000;
const FIRST_LINES = 100;
/** For this time after a jump to a line, scrolling is not by the reader. */
const MOVE_MS = 300;

/** How the reader likes logs to be shown is remembered for all of them. */
const STORED = 'iac-runner.log';

function readTaste() {
  const isNarrow = matchMedia('(max-width: 48rem)').matches;
  try {
    return { wrapped: isNarrow, times: false, ...JSON.parse(localStorage.getItem(STORED)) };
  } catch {
    return { wrapped: isNarrow, times: false };
  }
}

function saveTaste(taste) {
  try {
    localStorage.setItem(STORED, JSON.stringify(taste));
  } catch {
    // The browser keeps nothing for this site.
  }
}

/** The address of a line within the page. */
export function lineAddress(step, number) {
  return `#${encodeURIComponent(step).replaceAll('%2F', '/')}:${number}`;
}

/** Reads the step and the line from such an address. Null if it is none. */
export function parseLineAddress(hash) {
  try {
    const [, step, number] = /^#(.+):(\d{1,15})$/.exec(decodeURIComponent(hash)) ?? [];
    return step === undefined ? null : { step, number: Number(number) };
  } catch {
    return null;
  }
}

/**
 * Takes over the log of `details`, whose newest lines are on the page. `address` is that of the log of the run. The
 * `start` may be a line to begin with.
 */
export async function openLog(details, { address, isLive, start, total }) {
  const { step } = details.dataset;
  const box = details.querySelector('.log-box');
  const ask = createAsk(address, step);
  const taste = readTaste();
  const all = createAllLines((parameters) => ask({ ...parameters, spans: true }));
  all.grow(total);
  let lines = all;
  let current = start;
  let isFollowing = isLive && start === null;
  let movedAt = 0;
  let isCatchingUp = false;

  const { space, list } = makeSpace();
  const rows = {
    count: () => lines.count(),
    make(index) {
      const line = lines.at(index);
      const row = createRow(line, (number) => lineAddress(step, number));
      if (line !== undefined && line.number === current) row.classList.add('current');
      return row;
    },
    async load(first, last) {
      try {
        return await lines.load(first, last);
      } catch {
        // The server cannot be reached at the moment.
        setTimeout(() => view?.update(), RETRY_MS);
        return false;
      }
    },
  };
  let view = null;
  await rows.load(Math.max(0, (start ?? total) - FIRST_LINES), Math.max(0, (start ?? total) - 1));
  box.replaceChildren(space);
  view = createList({ box, space, list }, rows, (isAtEnd) => {
    const isByReader = performance.now() - movedAt > MOVE_MS;
    if (isLive && isByReader && isFollowing !== isAtEnd) setFollow(isAtEnd, false);
  });

  function setFollow(isOn, moves = true) {
    isFollowing = isOn;
    bar.showFollow(isOn);
    if (isOn && moves) view.toEnd();
  }

  function setErrors(isOn) {
    lines = isOn ? createErrorLines((parameters) => ask({ ...parameters, spans: true })) : all;
    lines.grow(all.count());
    bar.showErrors(isOn);
    view.restart();
  }

  function style() {
    box.classList.toggle('wrapped', taste.wrapped);
    box.classList.toggle('times', taste.times);
    list.style.setProperty('--digits', `${Math.max(4, String(all.count()).length)}ch`);
  }

  function change(name) {
    return (isOn) => {
      taste[name] = isOn;
      saveTaste(taste);
      view.update(style);
    };
  }

  /** Reads the newest lines before it shows them, so that a log that grows is drawn once for each part. */
  async function catchUp() {
    if (isCatchingUp) return;
    isCatchingUp = true;
    for (let shown = -1; isFollowing && shown < all.count(); ) {
      shown = all.count();
      await rows.load(Math.max(0, shown - FIRST_LINES), shown - 1);
      if (isFollowing) view.toEnd();
    }
    isCatchingUp = false;
  }

  /** Shows a line, and returns false if there is none with this number. */
  function goTo(number) {
    if (number < 1 || number > all.count()) return false;
    if (lines !== all) setErrors(false);
    setFollow(false);
    current = number;
    history.replaceState(history.state, '', lineAddress(step, number));
    movedAt = performance.now();
    view.toRow(number - 1);
    return true;
  }

  const find = createSearch(ask, goTo);
  const bar = createBar(step, {
    isLive,
    isFollowing,
    hasTimes: taste.times,
    isWrapped: taste.wrapped,
    setTimes: change('times'),
    setWrapped: change('wrapped'),
    setErrors,
    setFollow,
    toEnd: () => (isLive ? setFollow(true) : view.toEnd()),
    find: (text, direction) =>
      find(text, direction, current ?? 1).catch(() => 'The server cannot be reached at the moment.'),
  });
  details.querySelector('.log-note').prepend(bar.bar);
  style();
  if (start === null || !goTo(start)) view.toEnd();

  return {
    goTo,
    /** The step has so many lines now. */
    grow(count) {
      all.grow(count);
      lines.grow(count);
      style();
      if (isFollowing && lines === all) void catchUp();
      else view.update();
    },
  };
}

function makeSpace() {
  const space = document.createElement('div');
  space.className = 'log-space';
  const list = document.createElement('ol');
  list.className = 'log';
  space.append(list);
  return { space, list };
}

/** Returns the function that asks the server about the log of the step. It rejects if the server has no answer. */
function createAsk(address, step) {
  return async (parameters) => {
    const url = new URL(address, location.href);
    for (const [name, value] of Object.entries({ step, ...parameters })) url.searchParams.set(name, value);
    const response = await fetch(url, { headers: { Accept: 'application/json' } });
    if (!response.ok) throw new Error(`The server answered ${response.status}.`);
    return response.json();
  };
}
