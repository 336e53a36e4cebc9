/** Who decides about a write with a time limit: the thread that takes it, or the caller who gives up. Never both. */

const WAITING = 0;
const TAKEN = 1;
const GIVEN_UP = 2;

/** One number that both threads see. */
export type Turn = Int32Array<SharedArrayBuffer>;

export function createTurn(): Turn {
  return new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
}

/** For the thread: false when the caller has given up, so that the write must not be made. */
export function take(turn: Turn): boolean {
  return Atomics.compareExchange(turn, 0, WAITING, TAKEN) !== GIVEN_UP;
}

/** For the thread: what it took was rolled back, and waits again. */
export function putBack(turn: Turn): void {
  Atomics.compareExchange(turn, 0, TAKEN, WAITING);
}

/** For the caller: false when the write is being committed, so that its outcome has to be waited for. */
export function giveUp(turn: Turn): boolean {
  return Atomics.compareExchange(turn, 0, WAITING, GIVEN_UP) !== TAKEN;
}
