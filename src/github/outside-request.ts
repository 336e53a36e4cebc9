/** HTTP requests to addresses that somebody else has named. They never reach a private network. */

import type { LookupAddress, LookupOptions } from 'node:dns';
import { lookup as systemLookup } from 'node:dns/promises';
import { request as httpRequest, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { LookupFunction } from 'node:net';
import { isPublicAddress } from '../runs/texts/public-address.ts';
import { checkRemoteUrl, type RemoteUrlRules } from '../runs/texts/remote-url.ts';

export type Resolve = (host: string) => Promise<LookupAddress[]>;

/** The name leads to this machine or into a private network. */
export class PrivateAddressError extends Error {
  readonly code = 'PRIVATE_ADDRESS';
}

export interface OutsideAnswer {
  status: number;
  headers: Record<string, string>;
  /** Null if the body broke off or was too long. */
  text: string | null;
}

const MAX_ANSWER_BYTES = 1024 * 1024;
const resolveAll: Resolve = (host) => systemLookup(host, { all: true });

/**
 * Checks an address by the operator's rules. A host that the rules list may have any address. Any other host must have
 * a public one, which `lookup` ensures when the connection is made.
 */
export function checkOutsideUrl(
  text: string,
  rules: RemoteUrlRules,
  resolve: Resolve = resolveAll,
): { ok: true; url: string; lookup?: LookupFunction } | { ok: false; problem: string } {
  const checked = checkRemoteUrl(text, rules);
  if (!checked.ok) return checked;
  const { url, isListed } = checked;
  return { ok: true, url, ...(!isListed && { lookup: createPublicLookup(resolve) }) };
}

/**
 * Sends one request and follows no redirect, so that a token goes nowhere else. Each request has its own connection, so
 * that the name is looked up and checked each time. Rejects if there is no answer.
 */
export function requestOutside(
  url: string,
  { body, ...options }: Pick<RequestOptions, 'method' | 'headers' | 'signal' | 'lookup'> & { body?: string },
): Promise<OutsideAnswer> {
  const open = url.startsWith('https:') ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const request = open(url, { ...options, agent: false }, (response) => {
      const headers = Object.fromEntries(
        Object.entries(response.headers).map(([name, value]) => [name, String(value)]),
      );
      const chunks: Buffer[] = [];
      let bytes = 0;
      const end = (text: string | null) => resolve({ status: response.statusCode ?? 0, headers, text });
      request.on('error', () => end(null)).off('error', reject);
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > MAX_ANSWER_BYTES) request.destroy();
        else chunks.push(chunk);
      });
      response.on('error', () => end(null)).on('close', () => end(null));
      response.on('end', () => end(Buffer.concat(chunks).toString('utf8')));
    });
    request.on('error', reject);
    request.end(body);
  });
}

/**
 * Makes the `lookup` of a connection. The connection uses the address that was checked, so a name server cannot give
 * another one later. If one address of a name is not public, the whole name is refused.
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
