/** The units in which durations (milliseconds) and sizes (bytes) are written. */

export const SECOND = 1_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
/** The longest delay of a timer of Node. A timer with a longer one fires at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

export const KIBIBYTE = 1_024;
export const MEBIBYTE = 1_024 * KIBIBYTE;
