/** Looks a host up once, refuses private addresses, and makes git connect only to the addresses that were checked. */

import { lookup as systemLookup } from 'node:dns/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorCode, GitError, RunnerError } from '../../errors.ts';
import { isAddress, isPublicAddress } from '../../runs/texts/public-address.ts';
import type { RemoteUrl } from '../../runs/texts/remote-url.ts';
import { SECOND } from '../../units.ts';

/** All addresses of a name. */
export type Lookup = (host: string) => Promise<string[]>;

export interface HostPin {
  /** Settings for a git that uses http(s): it takes these addresses and looks nothing up. */
  settings: readonly (readonly [key: string, value: string])[];
  /** For ssh; null if the host was not looked up. */
  address: string | null;
  /** True if a proxy has to look the name up. Then git must not connect without the proxy. */
  proxyOnly: boolean;
}

const LOOKUP_TIMEOUT_MS = 15 * SECOND;

const NO_PIN: HostPin = { settings: [], address: null, proxyOnly: false };

/**
 * Without the pin, a name could be public when it is checked and 127.0.0.1 when git asks again. Hosts that the operator
 * has listed are not looked up. Throws RunnerError for a private address, GitError for a name that has no address.
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
    // Behind a proxy, the name servers of a network often do not know names outside it.
    const isUnknown = error instanceof GitError;
    if (isUnknown && hasProxy(protocol, options.network)) return { ...NO_PIN, proxyOnly: true };
    throw error;
  }
  if (protocol === 'ssh') return { ...NO_PIN, address: addresses[0] ?? null };
  const list = addresses.map((address) => (address.includes(':') ? `[${address}]` : address)).join(',');
  return { ...NO_PIN, settings: [['http.curloptResolve', `${host}:${port}:${list}`]] };
}

/** Returns the addresses, IPv4 first. Throws RunnerError if one of them is private, GitError if there is none. */
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
  let reason = 'it has no address';
  try {
    const limit = sleep(LOOKUP_TIMEOUT_MS, null, { ...(signal && { signal }), ref: false });
    const addresses = await Promise.race([lookup(host), limit]);
    if (addresses === null) reason = 'the look-up took too long';
    else if (addresses.length > 0) return addresses;
  } catch (error) {
    signal?.throwIfAborted();
    reason = errorCode(error) || 'the look-up failed';
  }
  throw new GitError('unavailable', `The host ${host} was not found: ${reason}.`, {
    nextAction: 'Check its name, and the name servers of this machine.',
  });
}

async function systemAddresses(host: string): Promise<string[]> {
  const found = await systemLookup(host, { all: true, order: 'ipv4first' });
  return found.map(({ address }) => address);
}

/** Reads the variables as curl does (curl(1), ENVIRONMENT): http_proxy in lower case only. */
function hasProxy(protocol: RemoteUrl['protocol'], network: Record<string, string>): boolean {
  const names = { https: ['https_proxy', 'HTTPS_PROXY'], http: ['http_proxy'] };
  if (protocol !== 'https' && protocol !== 'http') return false;
  return [...names[protocol], 'all_proxy', 'ALL_PROXY'].some((name) => (network[name] ?? '') !== '');
}
