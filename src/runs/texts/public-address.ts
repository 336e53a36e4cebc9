/** Finds the one canonical spelling of a host or IP address, and says whether an address is public. */

/** Ranges without public servers (IANA's special-purpose registries; RFC 6890). */
const RESERVED_V4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  // These addresses are public by their range, but every virtual machine of Azure reaches the services of its own host
  // there: https://learn.microsoft.com/en-us/azure/virtual-network/what-is-ip-address-168-63-129-16
  '168.63.129.16/32',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/3',
].map((range) => {
  const [base = '', bits = ''] = range.split('/');
  return { base: v4Number(base.split('.').map(Number)), size: 2 ** (32 - Number(bits)) };
});

/**
 * Returns a host as every program reads it: lower case, ASCII, no final dot; an IPv4 address in any spelling (decimal,
 * hex, octal, shortened) as four decimal numbers; an IPv6 address shortened and in brackets. Null if it is no host.
 */
export function canonicalHost(host: string): string | null {
  if (!/^(\[[0-9a-fA-F:.]+\]|[^\s:/?#@%\\[\]]+)$/.test(host)) return null;
  // The URL standard's host parser knows all the spellings that the system's resolver knows.
  const name = URL.parse(`http://${host}/`)?.hostname.replace(/\.$/, '');
  if (name === undefined || name.length > 253) return null;
  const isName = /^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/.test(name);
  return isName || name.startsWith('[') ? name : null;
}

/** True if a canonical host is an IP address rather than a name. */
export function isAddress(host: string): boolean {
  return host.startsWith('[') || /^\d+(\.\d+){3}$/.test(host);
}

/**
 * False for addresses of this machine, of private networks and of reserved ranges, even inside an IPv6 address (mapped,
 * 6to4, NAT64), and for a text that is no address. IPv6 with or without brackets.
 */
export function isPublicAddress(address: string): boolean {
  const host = canonicalHost(address.includes(':') && !address.startsWith('[') ? `[${address}]` : address);
  if (host === null || !isAddress(host)) return false;
  return host.startsWith('[')
    ? isPublicV6(groupsOf(host.slice(1, -1)))
    : isPublicV4(host.split('.').map(Number));
}

function isPublicV4(bytes: readonly number[]): boolean {
  const number = v4Number(bytes);
  return !RESERVED_V4.some(({ base, size }) => number >= base && number < base + size);
}

function v4Number(bytes: readonly number[]): number {
  return bytes.reduce((number, byte) => number * 256 + byte, 0);
}

/** Eight groups of 16 bits. */
function isPublicV6(groups: readonly number[]): boolean {
  const [first = 0, second = 0, third = 0] = groups;
  const prefix = groups.slice(0, 6).join(':');
  // IPv4-mapped ::ffff:0:0/96 and NAT64 64:ff9b::/96 lead to the IPv4 address in the last 32 bits.
  if (prefix === '0:0:0:0:0:65535' || prefix === '100:65435:0:0:0:0')
    return isPublicV4(bytesOf(groups.slice(6)));
  if (first === 0x2002) return isPublicV4(bytesOf([second, third]));
  // This range has all global unicast addresses. The rest is local, multicast or not assigned.
  if ((first & 0xe000) !== 0x2000) return false;
  const isProtocolRange = first === 0x2001 && second < 0x200;
  const isDocumentation = (first === 0x2001 && second === 0xdb8) || (first === 0x3fff && second < 0x1000);
  return !isProtocolRange && !isDocumentation;
}

function bytesOf(groups: readonly number[]): number[] {
  return groups.flatMap((group) => [group >> 8, group & 0xff]);
}

/** Reads an address as the URL standard writes it: hexadecimal groups, at most one "::". */
function groupsOf(address: string): number[] {
  const [head = '', tail] = address.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? [] : Array<string>(8 - left.length - right.length).fill('0');
  return [...left, ...zeros, ...right].map((group) => Number.parseInt(group, 16));
}
