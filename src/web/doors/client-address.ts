/** Finds the address of a client: the connection's address or, behind trusted proxies, the address that they report. */

import type { IncomingMessage } from 'node:http';
import { BlockList, isIP, type Socket } from 'node:net';

export interface ClientAddresses {
  /** The address that the request came from. */
  of(incoming: IncomingMessage): string;
  /** The address at the other end of a connection. */
  peerOf(socket: Socket): string;
  isTrusted(address: string): boolean;
}

/** The address of requests that came over no connection, as in tests. */
export const UNKNOWN_ADDRESS = 'unknown';

/** `trusted` holds addresses, and networks such as 10.0.0.0/8. */
export function createClientAddresses(trusted: readonly string[]): ClientAddresses {
  const proxies = new BlockList();
  for (const entry of trusted) {
    const [address = '', bits] = entry.split('/');
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    if (bits === undefined) proxies.addAddress(address, family);
    else proxies.addSubnet(address, Number(bits), family);
  }
  const isTrusted = (address: string): boolean =>
    isIP(address) !== 0 && proxies.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');

  const peerOf = ({ remoteAddress }: Socket) => plainAddress(remoteAddress ?? UNKNOWN_ADDRESS);

  return {
    isTrusted,
    peerOf,
    of(incoming) {
      let address = peerOf(incoming.socket);
      if (!isTrusted(address)) return address;
      const reported = [incoming.headers['x-forwarded-for'] ?? ''].flat().join(',').split(',');
      // Each proxy adds the address of its client at the right. Entries left of a stranger's are the stranger's claims.
      for (const entry of reported.reverse()) {
        const next = addressIn(entry.trim());
        if (next === null || !isTrusted(address)) return address;
        address = next;
      }
      return address;
    },
  };
}

/** Limits count by group: an IPv4 address, or the network of 64 bits that one IPv6 client usually has. */
export function addressGroup(address: string): string {
  if (isIP(address) !== 6) return address;
  const [head = '', tail] = address.split('%')[0]?.split('::') ?? [];
  const first = head.split(':').filter(Boolean);
  const last = tail?.split(':').filter(Boolean) ?? [];
  const middle =
    tail === undefined ? [] : Array<string>(Math.max(0, 8 - first.length - last.length)).fill('0');
  const groups = [...first, ...middle, ...last].slice(0, 4);
  return `${groups.map((group) => group.toLowerCase().replace(/^0+(?=.)/, '')).join(':')}::/64`;
}

/** Reads an entry of X-Forwarded-For. Some proxies add a port, and brackets around IPv6. */
function addressIn(entry: string): string | null {
  const [, bracketed] = /^\[([^\]]+)\](?::\d+)?$/.exec(entry) ?? [];
  const [, withoutPort] = /^([\d.]+):\d+$/.exec(entry) ?? [];
  const address = plainAddress(bracketed ?? withoutPort ?? entry);
  return isIP(address) === 0 ? null : address;
}

/** A socket that listens for both families gives IPv4 addresses as ::ffff:10.0.0.1. */
function plainAddress(address: string): string {
  const [, v4] = /^::ffff:([\d.]+)$/i.exec(address) ?? [];
  return v4 ?? address;
}
