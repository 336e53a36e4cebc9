/** A clock for waits that begin and end in one process. */

/**
 * Returns whole milliseconds since the epoch. The clock starts with the wall clock of the process and then runs evenly,
 * so that no wait grows or shrinks when somebody sets the time of the machine.
 */
export function steadyNow(): number {
  return Math.floor(performance.timeOrigin + performance.now());
}
