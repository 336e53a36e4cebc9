import { describe, expect, it } from 'vitest';
import { createSealer } from './seal.ts';

const TEXT = JSON.stringify({ environment: { TOKEN: 'hunter2-ünïcode' }, git: null });

describe('A sealed text', () => {
  it('can be opened, differs each time, and does not contain the text', () => {
    const { seal, open } = createSealer(['a-secret-of-the-server']);
    const sealed = seal(TEXT);
    expect(open(sealed)).toBe(TEXT);
    expect(open(seal(''))).toBe('');
    expect(seal(TEXT)).not.toBe(sealed);
    expect(sealed).toMatch(/^v1\.[A-Za-z0-9_-]+$/);
    expect(Buffer.from(sealed.slice(3), 'base64url').includes('hunter2')).toBe(false);
  });

  it('can be opened after a change of the key as long as the old key is known', () => {
    const sealed = createSealer(['the-old-secret']).seal(TEXT);
    expect(createSealer(['the-new-secret', 'the-old-secret']).open(sealed)).toBe(TEXT);
    expect(createSealer(['the-new-secret']).open(sealed)).toBeNull();
    const again = createSealer(['the-new-secret', 'the-old-secret']).seal(TEXT);
    expect(createSealer(['the-new-secret']).open(again)).toBe(TEXT);
  });

  it('cannot be opened when a part of it was changed', () => {
    const { seal, open } = createSealer(['a-secret-of-the-server']);
    const bytes = Buffer.from(seal('short').slice(3), 'base64url');
    for (const index of bytes.keys()) {
      const changed = Buffer.from(bytes);
      changed[index] = (changed[index] ?? 0) ^ 1;
      expect(open(`v1.${changed.toString('base64url')}`)).toBeNull();
    }
    const whole = bytes.toString('base64url');
    const odd = ['', 'v1', 'v1.', `v2.${whole}`, `v1.${whole}.x`, 'v1.AAAA', `v1.${whole.slice(0, 30)}`];
    expect(odd.map(open)).toEqual(odd.map(() => null));
  });
});
