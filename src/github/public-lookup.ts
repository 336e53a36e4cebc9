/** Looks a host up for a connection, and gives only addresses that anybody may be asked to connect to. */

import type { LookupAddress, LookupOptions } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { isPublicAddress } from '../runs/texts/public-address.ts';

export type Resolve = (host: string) => Promise<LookupAddress[]>;

/** The name leads to this machine or into a private network. */
export class PrivateAddressError extends Error {
  readonly code = 'PRIVATE_ADDRESS';
}

/**
 * For `lookup` of node:http and node:net: the address that is checked is the one that is connected to, so a name that
 * is answered otherwise the second time gains nothing. One that is not public refuses the name as a whole.
 */
export function createPublicLookup(resolve: Resolve): LookupFunction {
  return (host, options, callback) => {
    lookUp(host, options, resolve).then(
      (addresses) => {
        const [first] = addresses;
        if (options.all) callback(null, addresses);
        else callback(null, first?.address ?? '', first?.family ?? 4);
      },
      (error: unknown) => callback(error instanceof Error ? error : new Error('lookup failed'), '', 4),
    );
  };
}

async function lookUp(host: string, { family }: LookupOptions, resolve: Resolve): Promise<LookupAddress[]> {
  const found = await resolve(host);
  if (found.some(({ address }) => !isPublicAddress(address))) {
    throw new PrivateAddressError(`${host} leads to an address that is not public.`);
  }
  const wanted = family === 4 || family === 6 ? found.filter((address) => address.family === family) : found;
  if (wanted.length > 0) return wanted;
  throw Object.assign(new Error(`${host} has no address.`), { code: 'ENOTFOUND' });
}
