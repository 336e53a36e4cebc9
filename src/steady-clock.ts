/** A clock for waits that begin and end in one process. */

/**
 * Now, in whole milliseconds since the epoch. It starts with the wall clock of the process and then goes on evenly, so
 * that no wait grows or shrinks when somebody sets the time of the machine.
 */
export function steadyNow(): number {
  return Math.floor(performance.timeOrigin + performance.now());
}
