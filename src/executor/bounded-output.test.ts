import { expect, it } from 'vitest';
import { createBoundedOutput } from './bounded-output.ts';

it('A bounded output keeps a short output, and the start and the end of a long one, whatever the chunks', () => {
  const all = 'abcdefghijklmnopqrstuvwxyz';
  for (const size of [1, 3, 7, 26]) {
    for (const [max, expected] of [
      [26, all],
      [30, all],
      [10, 'abcde\n[16 bytes of output left out here]\nvwxyz'],
    ] as const) {
      const output = createBoundedOutput(max);
      for (let start = 0; start < all.length; start += size) {
        output.push(Buffer.from(all.slice(start, start + size)));
      }
      expect(output.text(), `${size} of ${max}`).toBe(expected);
    }
  }
  expect(createBoundedOutput(10).text()).toBe('');
});
