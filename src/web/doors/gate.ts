/**
 * Stands between strangers and the endpoints: it knows their addresses, bounds what they may hold, and counts
 * failures.
 */

import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import type { HttpBindings } from '@hono/node-server';
import type { Context } from 'hono';
import { RequestError } from '../../errors.ts';
import { MEBIBYTE } from '../../units.ts';
import { answerRaw, type HttpSocket } from '../frame/raw-answer.ts';
import { type ClientAddresses, createClientAddresses, UNKNOWN_ADDRESS } from './client-address.ts';
import { type Credential, createFailedAttempts, type FailedAttemptsOptions } from './failed-attempts.ts';
import { createStrangers, type Stranger } from './strangers.ts';
import { createUnverifiedBodies, tooLarge } from './unverified-bodies.ts';

export interface Gate {
  addressOf(c: Context): string;
  /** Reads the whole body of a sender who may be anybody. Throws RequestError 413, 503 or 400. */
  readBody(c: Context, maxBytes: number): Promise<Buffer>;
  /** Notes that the sender proved who they are, so that their connection is no stranger's any more. */
  verified(c: Context): void;
  /** Notes that a credential was wrong; returns the error to answer with, 401 or 429. */
  failed(c: Context, credential: Credential, message: string): RequestError;
  /** The 429 for an address that failed too often, or null. */
  refusal(c: Context, credential: Credential): RequestError | null;
  failures(): ReadonlyMap<Credential, number>;
  /** Bounds the connections of a server. */
  watch(server: Server): void;
}

export interface GateOptions extends FailedAttemptsOptions {
  trustedProxies: readonly string[];
  unverifiedBytes?: number;
  connectionsPerAddress?: number;
}

const UNVERIFIED_BYTES = 64 * MEBIBYTE;
const CONNECTIONS_PER_ADDRESS = 64;
/** Half of the connections that the server accepts at all. */
const STRANGERS_OVERALL = 1_000;

export function createGate(options: GateOptions): Gate {
  const { unverifiedBytes = UNVERIFIED_BYTES, connectionsPerAddress = CONNECTIONS_PER_ADDRESS } = options;
  const addresses = createClientAddresses(options.trustedProxies);
  const senders = createSenders(addresses, connectionsPerAddress);
  const bodies = createUnverifiedBodies(unverifiedBytes);
  const attempts = createFailedAttempts(options);

  function addressOf(c: Context): string {
    const incoming = incomingOf(c);
    return incoming ? addresses.of(incoming) : UNKNOWN_ADDRESS;
  }

  return {
    addressOf,
    async readBody(c, maxBytes) {
      if (Number(c.req.header('content-length') ?? 0) > maxBytes) throw tooLarge(maxBytes);
      const source = bodySource(c);
      if (source === null) return Buffer.alloc(0);
      if (source.destroyed) throw new RequestError(400, 'The request was cut off');
      const stranger = senders.strangerOf(c);
      return bodies.read({ source, address: addressOf(c), maxBytes, onPart: () => stranger?.active() });
    },
    verified: (c) => senders.strangerOf(c)?.left(),
    failed: (c, credential, message) => attempts.failed(addressOf(c), credential, message),
    refusal: (c, credential) => attempts.refusal(addressOf(c), credential),
    failures: attempts.counts,
    watch: senders.watch,
  };
}

/** Knows which connections, and which requests through proxies, belong to strangers. */
function createSenders(addresses: ClientAddresses, perAddress: number) {
  const strangers = createStrangers({ perAddress, overall: STRANGERS_OVERALL });
  const connections = new WeakMap<Socket, Stranger>();
  /** A proxy has one connection for many clients, so their requests are counted one by one. */
  const requests = new WeakMap<IncomingMessage, Stranger>();

  return {
    strangerOf(c: Context): Stranger | undefined {
      const incoming = incomingOf(c);
      return incoming && (requests.get(incoming) ?? connections.get(incoming.socket));
    },
    watch(server: Server): void {
      server.on('connection', (socket: Socket) => {
        const address = addresses.peerOf(socket);
        if (addresses.isTrusted(address)) return;
        const stranger = strangers.arrived(address, () => cut(socket));
        connections.set(socket, stranger);
        socket.once('close', stranger.left);
      });
      server.prependListener('request', (incoming: IncomingMessage, outgoing: ServerResponse) => {
        const known = connections.get(incoming.socket);
        if (known) return known.active();
        const stranger = strangers.arrived(addresses.of(incoming), () => cut(incoming.socket));
        requests.set(incoming, stranger);
        outgoing.once('close', stranger.left);
      });
    },
  };
}

/** Clients that wait for an answer are asked to come again; connections without a request are just closed. */
function cut(socket: HttpSocket): void {
  if (!socket._httpMessage) return void socket.destroy();
  const error = 'Too many unverified connections are open; send it again later';
  answerRaw(socket, { status: '503 Service Unavailable', error, retryAfterSeconds: 5 });
  socket.destroySoon();
}

function incomingOf(c: Context): IncomingMessage | undefined {
  const bindings: Partial<HttpBindings> | undefined = c.env;
  return bindings?.incoming;
}

/**
 * Returns Node's own request if there is one, because reading a web stream takes half of the time of an answer. Null if
 * there is no body.
 */
function bodySource(c: Context): Readable | null {
  const incoming = incomingOf(c);
  if (incoming) return incoming;
  return c.req.raw.body && Readable.fromWeb(c.req.raw.body);
}
