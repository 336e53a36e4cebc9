/** Decides whether the thread makes a write with a time limit, or its caller gives up. Never both happen. */

const WAITING = 0;
const TAKEN = 1;
const GIVEN_UP = 2;

/** One number that both threads see. */
export type Turn = Int32Array<SharedArrayBuffer>;

export function createTurn(): Turn {
  return new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
}

/** The thread calls this. Returns false if the caller has given up, so that the write must not be made. */
export function take(turn: Turn): boolean {
  return Atomics.compareExchange(turn, 0, WAITING, TAKEN) !== GIVEN_UP;
}

/** The thread calls this when a write that it took was rolled back and waits again. */
export function putBack(turn: Turn): void {
  Atomics.compareExchange(turn, 0, TAKEN, WAITING);
}

/** The caller calls this. Returns false if the write is being committed, so that its outcome has to be waited for. */
export function giveUp(turn: Turn): boolean {
  return Atomics.compareExchange(turn, 0, WAITING, GIVEN_UP) !== TAKEN;
}
