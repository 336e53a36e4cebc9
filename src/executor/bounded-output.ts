/** Keeps the output of a command in memory. If the output is long, only its beginning and its end are kept. */

export interface BoundedOutput {
  push(chunk: Uint8Array): void;
  /** Returns the output as text. Bytes that are not UTF-8 become U+FFFD. */
  text(): string;
}

/** Keeps at most `maxBytes`, half of them from the end, with a mark on a line of its own where something is left out. */
export function createBoundedOutput(maxBytes: number): BoundedOutput {
  const half = Math.floor(maxBytes / 2);
  const head: Uint8Array[] = [];
  const tail: Uint8Array[] = [];
  let headBytes = 0;
  let tailBytes = 0;
  let droppedBytes = 0;

  function dropFromTail(): void {
    for (let first = tail[0]; first !== undefined && tailBytes - first.length >= half; first = tail[0]) {
      tail.shift();
      tailBytes -= first.length;
      droppedBytes += first.length;
    }
  }

  return {
    push(chunk) {
      const fitting = chunk.subarray(0, half - headBytes);
      if (fitting.length > 0) head.push(fitting);
      headBytes += fitting.length;
      const rest = chunk.subarray(fitting.length);
      if (rest.length === 0) return;
      tail.push(rest);
      tailBytes += rest.length;
      dropFromTail();
    },
    text() {
      const end = Buffer.concat(tail);
      const excess = Math.max(0, end.length - half);
      const dropped = droppedBytes + excess;
      if (dropped === 0) return Buffer.concat([...head, end]).toString();
      const mark = `\n[${dropped} bytes of output left out here]\n`;
      return Buffer.concat(head).toString() + mark + end.subarray(excess).toString();
    },
  };
}
