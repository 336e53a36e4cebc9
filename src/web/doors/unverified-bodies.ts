/** Reads bodies that nobody has vouched for yet, within one budget of bytes for all of them. */

import type { Readable } from 'node:stream';
import { RequestError } from '../../errors.ts';
import { addressGroup } from './client-address.ts';

interface BodyRequest {
  source: Readable;
  address: string;
  maxBytes: number;
  /** Called with each part that arrives. */
  onPart(): void;
}

export interface UnverifiedBodies {
  /**
   * The whole body. Whoever gets it checks it at once, so it counts until then. Throws RequestError: 413 beyond
   * `maxBytes`, 503 when others need the room, 400 when the sender went away.
   */
  read(request: BodyRequest): Promise<Buffer>;
}

/** Smaller bodies are not given up for the room they would leave. */
const SMALL_BYTES = 1024 * 1024;

interface Body {
  group: string;
  bytes: number;
  giveUp(): void;
}

export function createUnverifiedBodies(budgetBytes: number): UnverifiedBodies {
  // In the order of their last part: the stalest stands first.
  const bodies = new Set<Body>();
  const heldBy = new Map<string, number>();
  let held = 0;

  function count(body: Body, bytes: number): void {
    body.bytes += bytes;
    held += bytes;
    const ofGroup = (heldBy.get(body.group) ?? 0) + bytes;
    if (ofGroup === 0) heldBy.delete(body.group);
    else heldBy.set(body.group, ofGroup);
  }

  function forget(body: Body): void {
    bodies.delete(body);
    count(body, -body.bytes);
  }

  /** The address with the most bytes gives up its stalest body; if that is the one that grows now, somebody stale does. */
  function bodyToGiveUp(growing: Body): Body {
    const [heaviest] = [...heldBy].reduce((most, one) => (one[1] > most[1] ? one : most));
    const all = [...bodies];
    const stalest = all.find(({ group, bytes }) => group === heaviest && bytes > 0) ?? growing;
    if (stalest !== growing) return stalest;
    const others = all.filter((body) => body !== growing && body.bytes > 0);
    return others.find(({ bytes }) => bytes >= SMALL_BYTES) ?? others[0] ?? growing;
  }

  function grow(body: Body, bytes: number): void {
    bodies.delete(body);
    bodies.add(body);
    count(body, bytes);
    while (held > budgetBytes) bodyToGiveUp(body).giveUp();
  }

  return {
    read({ source, address, maxBytes, onPart }) {
      return new Promise((resolve, reject) => {
        const chunks: Buffer[] = [];
        const body: Body = { group: addressGroup(address), bytes: 0, giveUp: () => end(noRoom()) };
        bodies.add(body);

        function end(problem: Error | null): void {
          source.off('data', onData).off('end', onEnd).off('error', onCut).off('close', onCut);
          if (!bodies.has(body)) return;
          forget(body);
          if (problem) reject(problem);
          else resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks));
        }
        function onData(chunk: Buffer): void {
          onPart();
          if (body.bytes + chunk.length > maxBytes) {
            end(tooLarge(maxBytes));
            return;
          }
          chunks.push(chunk);
          grow(body, chunk.length);
        }
        const onEnd = () => end(null);
        const onCut = () => end(new RequestError(400, 'The request was cut off'));
        source.on('data', onData).on('end', onEnd).on('error', onCut).on('close', onCut);
      });
    },
  };
}

export function tooLarge(maxBytes: number): RequestError {
  const size = maxBytes < 1024 * 1024 ? `${maxBytes / 1024} KiB` : `${maxBytes / 1024 / 1024} MiB`;
  return new RequestError(413, `The body is larger than ${size}`);
}

function noRoom(): RequestError {
  return new RequestError(503, 'Too many unverified requests are being received; send it again later');
}
