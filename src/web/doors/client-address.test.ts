import type { IncomingMessage } from 'node:http';
import { describe, expect, it } from 'vitest';
import { addressGroup, createClientAddresses } from './client-address.ts';

function addressOf(trusted: string[], remoteAddress: string | undefined, forwarded?: string): string {
  const incoming = { socket: { remoteAddress }, headers: { 'x-forwarded-for': forwarded } };
  return createClientAddresses(trusted).of(incoming as unknown as IncomingMessage);
}

describe('The address of a client', () => {
  const PROXIES = ['10.0.0.0/8', 'fd00::/8', '127.0.0.1'];
  const CASES: [what: string, peer: string | undefined, forwarded: string | undefined, address: string][] = [
    ['is the one of the connection', '192.0.2.1', undefined, '192.0.2.1'],
    ['is not what a stranger claims', '192.0.2.1', '198.51.100.1', '192.0.2.1'],
    ['is what a trusted proxy reports', '10.1.2.3', '198.51.100.1', '198.51.100.1'],
    ['is read from right to left', '10.1.2.3', '203.0.113.9, 198.51.100.1, 10.9.9.9', '198.51.100.1'],
    [
      'is the last trusted one where nothing better is known',
      '10.1.2.3',
      '203.0.113.9, nonsense',
      '10.1.2.3',
    ],
    ['may be one of the proxies', '10.1.2.3', '10.1.1.1', '10.1.1.1'],
    ['is that of the proxy which reports nothing', '10.1.2.3', undefined, '10.1.2.3'],
    ['may be IPv6', 'fd00::1', '2001:db8::7', '2001:db8::7'],
    ['comes without a port', '127.0.0.1', '198.51.100.1:4711', '198.51.100.1'],
    ['comes without brackets', '127.0.0.1', '[2001:db8::7]:4711', '2001:db8::7'],
    [
      'is plain where the socket listens for both families',
      '::ffff:10.0.0.1',
      '198.51.100.1',
      '198.51.100.1',
    ],
    ['is unknown once the connection has ended', undefined, '198.51.100.1', 'unknown'],
  ];

  it.each(CASES)('%s', (_what, peer, forwarded, address) => {
    expect(addressOf(PROXIES, peer, forwarded)).toBe(address);
  });

  it('is counted by itself in IPv4, and by its network of 64 bits in IPv6', () => {
    expect(addressGroup('192.0.2.1')).toBe('192.0.2.1');
    expect(addressGroup('2001:db8:0:1::7')).toBe('2001:db8:0:1::/64');
    expect(addressGroup('2001:0DB8::1:2:3:4:5')).toBe('2001:db8:0:1::/64');
    expect(addressGroup('::1')).toBe('0:0:0:0::/64');
    expect(addressGroup('fe80::1%eth0')).toBe('fe80:0:0:0::/64');
    expect(addressGroup('unknown')).toBe('unknown');
  });
});
