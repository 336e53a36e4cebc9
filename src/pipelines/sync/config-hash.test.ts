import { describe, expect, it } from 'vitest';
import { configHash } from './config-hash.ts';

describe('configHash', () => {
  it.each([
    ['services: {}\n', { B: '2', A: '1', E: '' }, 'efb2ebedb477'],
    ['', {}, 'a70cdd06292b'],
  ])('of %j with %j equals the hash that existing tasks compute: %s', (compose, environment, hash) => {
    expect(configHash([compose], environment)).toBe(hash);
    expect(configHash([Buffer.from(compose)], environment)).toBe(hash);
  });

  it('joins several files with a line between them', () => {
    expect(configHash(['a', Buffer.from('b')], {})).toBe(configHash(['a\n---FILE---\nb'], {}));
  });

  it('changes with the file, a value and a key', () => {
    const hashes = [
      configHash(['a'], { A: '1' }),
      configHash(['b'], { A: '1' }),
      configHash(['a'], { A: '2' }),
      configHash(['a'], { B: '1' }),
      configHash(['a', 'b'], { A: '1' }),
      configHash(['b', 'a'], { A: '1' }),
    ];
    expect(new Set(hashes).size).toBe(6);
  });
});
