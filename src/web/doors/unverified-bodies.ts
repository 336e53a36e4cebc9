/** Reads bodies whose senders are not known yet, within one limit of bytes for all of them together. */

import type { Readable } from 'node:stream';
import { RequestError } from '../../errors.ts';
import { KIBIBYTE, MEBIBYTE } from '../../units.ts';
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
   * Resolves to the whole body. It counts until then, because the caller verifies it at once. Throws RequestError: 413
   * beyond `maxBytes`, 503 when others need the space, 400 when the sender closed the connection.
   */
  read(request: BodyRequest): Promise<Buffer>;
}

/** Giving up a smaller body would free too little. */
const SMALL_BYTES = MEBIBYTE;

interface Body {
  group: string;
  bytes: number;
  giveUp(): void;
}

export function createUnverifiedBodies(limitBytes: number): UnverifiedBodies {
  const space = createSpace(limitBytes);
  return {
    read: ({ source, address, maxBytes, onPart }) =>
      new Promise((resolve, reject) => {
        const chunks: Buffer[] = [];
        const body: Body = { group: addressGroup(address), bytes: 0, giveUp: () => end(noSpace()) };
        space.add(body);

        function end(problem: Error | null): void {
          source.off('data', onData).off('end', onEnd).off('error', onCut).off('close', onCut);
          if (!space.remove(body)) return;
          if (problem) reject(problem);
          else resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks));
        }
        function onData(chunk: Buffer): void {
          onPart();
          if (body.bytes + chunk.length > maxBytes) end(tooLarge(maxBytes));
          else {
            chunks.push(chunk);
            space.grow(body, chunk.length);
          }
        }
        const onEnd = () => end(null);
        const onCut = () => end(new RequestError(400, 'The request was cut off'));
        source.on('data', onData).on('end', onEnd).on('error', onCut).on('close', onCut);
      }),
  };
}

/** Counts the bytes of all bodies, and gives bodies up when they are more than the limit. */
function createSpace(limitBytes: number) {
  // The bodies are in the order of their last part: the one that has waited longest comes first.
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

  return {
    add: (body: Body) => void bodies.add(body),
    /** False when it was removed before. */
    remove(body: Body): boolean {
      if (!bodies.delete(body)) return false;
      count(body, -body.bytes);
      return true;
    },
    grow(body: Body, bytes: number): void {
      bodies.delete(body);
      bodies.add(body);
      count(body, bytes);
      while (held > limitBytes) bodyToGiveUp(body, [...bodies], heldBy).giveUp();
    },
  };
}

/**
 * The address that holds the most bytes gives up the body that has waited longest. If that is the body which grows now,
 * another one is given up.
 */
function bodyToGiveUp(growing: Body, bodies: Body[], heldBy: ReadonlyMap<string, number>): Body {
  const [heaviest] = [...heldBy].reduce((most, one) => (one[1] > most[1] ? one : most));
  const stalest = bodies.find(({ group, bytes }) => group === heaviest && bytes > 0) ?? growing;
  if (stalest !== growing) return stalest;
  const others = bodies.filter((body) => body !== growing && body.bytes > 0);
  return others.find(({ bytes }) => bytes >= SMALL_BYTES) ?? others[0] ?? growing;
}

export function tooLarge(maxBytes: number): RequestError {
  const size = maxBytes < MEBIBYTE ? `${maxBytes / KIBIBYTE} KiB` : `${maxBytes / MEBIBYTE} MiB`;
  return new RequestError(413, `The body is larger than ${size}`);
}

function noSpace(): RequestError {
  return new RequestError(503, 'Too many unverified requests are being received; send it again later');
}
