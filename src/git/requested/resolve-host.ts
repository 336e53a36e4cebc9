/** Looks a host up once, refuses private addresses, and holds what connects to the addresses that were judged. */

import { lookup as systemLookup } from 'node:dns/promises';
import { GitError, RunnerError } from '../../errors.ts';
import { isAddress, isPublicAddress } from '../../runs/texts/public-address.ts';
import type { RemoteUrl } from '../../runs/texts/remote-url.ts';
import { SECOND } from '../../units.ts';

/** All addresses of a name. */
export type Lookup = (host: string) => Promise<string[]>;

export interface HostPin {
  /** Settings for a git that speaks http(s): it takes these addresses and asks nobody. */
  settings: readonly (readonly [key: string, value: string])[];
  /** For ssh; null for one that was not looked up. */
  address: string | null;
  /** Proxies of the environment resolve the name themselves, so none may be gone round. */
  proxyOnly: boolean;
}

const LOOKUP_TIMEOUT_MS = 15 * SECOND;

const NO_PIN: HostPin = { settings: [], address: null, proxyOnly: false };

/**
 * Without it a name could be public when it is judged and 127.0.0.1 when git asks again. Listed hosts are the
 * operator's word and are left alone. Throws RunnerError for a private address, GitError for a name that has none.
 */
export async function pinHost(
  remote: RemoteUrl,
  options: { network: Record<string, string>; signal?: AbortSignal | undefined; lookup?: Lookup | undefined },
): Promise<HostPin> {
  const { host, port, protocol } = remote;
  if (remote.isListed || isAddress(host)) return NO_PIN;
  if (protocol === 'git') {
    throw new RunnerError(`${host} cannot be asked by the git protocol.`, {
      nextAction: 'Use https, or list the host in GIT_ALLOWED_HOSTS.',
    });
  }
  let addresses: string[];
  try {
    addresses = await publicAddresses(host, options);
  } catch (error) {
    // Behind a proxy, names of the outside are often not known inside.
    const isUnknown = error instanceof GitError;
    if (isUnknown && hasProxy(protocol, options.network)) return { ...NO_PIN, proxyOnly: true };
    throw error;
  }
  if (protocol === 'ssh') return { ...NO_PIN, address: addresses[0] ?? null };
  const list = addresses.map((address) => (address.includes(':') ? `[${address}]` : address)).join(',');
  return { ...NO_PIN, settings: [['http.curloptResolve', `${host}:${port}:${list}`]] };
}

/** IPv4 first. Throws RunnerError when one of them is private, GitError when there is none. */
export async function publicAddresses(
  host: string,
  {
    lookup = systemAddresses,
    signal,
  }: { lookup?: Lookup | undefined; signal?: AbortSignal | undefined } = {},
): Promise<string[]> {
  const addresses = isAddress(host) ? [host.replace(/^\[|\]$/g, '')] : await ask(lookup, host, signal);
  const refused = addresses.find((address) => !isPublicAddress(address));
  if (refused !== undefined) {
    throw new RunnerError(`${host} has the address ${refused}, which is not a public one.`, {
      nextAction: 'List the host in GIT_ALLOWED_HOSTS when it may be used.',
    });
  }
  return addresses;
}

async function ask(lookup: Lookup, host: string, signal: AbortSignal | undefined): Promise<string[]> {
  const timeout = AbortSignal.timeout(LOOKUP_TIMEOUT_MS);
  const ended = signal ? AbortSignal.any([signal, timeout]) : timeout;
  let reason = 'it has no address';
  try {
    const addresses = await Promise.race([lookup(host), rejection(ended)]);
    if (addresses.length > 0) return addresses;
  } catch (error) {
    signal?.throwIfAborted();
    reason = error instanceof Error && 'code' in error ? String(error.code) : 'the look-up took too long';
  }
  throw new GitError('unavailable', `The host ${host} was not found: ${reason}.`, {
    nextAction: 'Check its name, and the name servers of this machine.',
  });
}

function rejection(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(new Error('aborted'));
    signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
  });
}

async function systemAddresses(host: string): Promise<string[]> {
  const found = await systemLookup(host, { all: true, order: 'ipv4first' });
  return found.map(({ address }) => address);
}

/** As curl reads them (curl(1), ENVIRONMENT): http_proxy in lower case only. */
function hasProxy(protocol: RemoteUrl['protocol'], network: Record<string, string>): boolean {
  const names = { https: ['https_proxy', 'HTTPS_PROXY'], http: ['http_proxy'] };
  if (protocol !== 'https' && protocol !== 'http') return false;
  return [...names[protocol], 'all_proxy', 'ALL_PROXY'].some((name) => (network[name] ?? '') !== '');
}
