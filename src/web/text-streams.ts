/** Long texts as the bodies of answers, made as fast as their receivers take them. */

export interface TextStreams {
  /** Null while too many are being read. */
  open(parts: AsyncGenerator<string, void>): ReadableStream<Uint8Array> | null;
}

/** Each that is open holds a part of its text, however slow its receiver is: so there are at most `maxOpen`. */
export function createTextStreams(maxOpen: number): TextStreams {
  const open = new Set<AsyncGenerator<string, void>>();
  const encoder = new TextEncoder();
  return {
    open(parts) {
      if (open.size >= maxOpen) return null;
      open.add(parts);
      return new ReadableStream<Uint8Array>(
        {
          async pull(controller) {
            try {
              const { done, value } = await parts.next();
              if (!done) return controller.enqueue(encoder.encode(value));
              open.delete(parts);
              controller.close();
            } catch (error) {
              open.delete(parts);
              throw error;
            }
          },
          async cancel() {
            open.delete(parts);
            await parts.return();
          },
        },
        // Nothing is read before somebody asks.
        { highWaterMark: 0 },
      );
    },
  };
}
