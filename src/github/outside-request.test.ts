import type { LookupAddress } from 'node:dns';
import { describe, expect, it } from 'vitest';
import { createPublicLookup } from './outside-request.ts';

const V4 = { address: '93.184.215.14', family: 4 };
const V6 = { address: '2606:2800:21f:cb07:6820:80da:af6b:8b2c', family: 6 };

function lookUp(found: LookupAddress[], options: { all?: boolean; family?: number } = {}) {
  return new Promise((resolve) => {
    createPublicLookup(async () => found)('hooks.example.com', options, (error, address, family) =>
      resolve(error ? error.message : [address, family]),
    );
  });
}

describe('The lookup of a public host', () => {
  it('answers in both forms that Node asks for', async () => {
    expect(await lookUp([V4, V6])).toEqual([V4.address, 4]);
    expect(await lookUp([V4, V6], { all: true })).toEqual([[V4, V6], undefined]);
    expect(await lookUp([V4, V6], { family: 6 })).toEqual([V6.address, 6]);
  });

  it.each(['127.0.0.1', '10.0.0.1', '169.254.169.254', '::1', 'fd00::1', '::ffff:127.0.0.1'])(
    'F14: refuses a name that leads to %s, even if its other addresses are public',
    async (address) => {
      const found = [V4, { address, family: address.includes(':') ? 6 : 4 }];
      expect(await lookUp(found, { all: true })).toContain('is not public');
    },
  );

  it('says if there is no address', async () => {
    expect(await lookUp([V4], { family: 6 })).toBe('hooks.example.com has no address.');
  });
});
