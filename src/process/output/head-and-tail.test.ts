import { describe, expect, it } from 'vitest';
import { createHeadAndTail } from './head-and-tail.ts';

const text = (chunks: Uint8Array[]): string => Buffer.concat(chunks).toString();

/** Pushes the output as one stream, in chunks of this size. */
function bound(output: string, maxBytes: number, size: number) {
  const bounded = createHeadAndTail(maxBytes);
  const head: Uint8Array[] = [];
  for (let start = 0; start < output.length; start += size) {
    head.push(bounded.push('stdout', Buffer.from(output.slice(start, start + size))));
  }
  const { leftOut, chunks } = bounded.finish();
  return { head: text(head), leftOut, tail: text(chunks.map(({ chunk }) => chunk)) };
}

describe('The head and tail of an output', () => {
  it('are the whole output if it is short, whatever the size of the chunks', () => {
    const output = 'one\ntwo\nthree\n';
    for (const size of [1, 3, 14]) {
      const { head, leftOut, tail } = bound(output, 14, size);
      expect([head + tail, leftOut]).toEqual([output, null]);
    }
  });

  it('are the beginning and the last whole lines of a long output, with a count of the missing bytes and lines', () => {
    const output = Array.from({ length: 100 }, (_, index) => `line ${10 + index}\n`).join('');
    for (const size of [1, 7, 64, 1_000]) {
      expect(bound(output, 60, size), `chunks of ${size}`).toEqual({
        head: output.slice(0, 30),
        leftOut: { bytes: output.length - 30 - 27, lines: 94, streams: ['stdout'] },
        tail: 'line 107\nline 108\nline 109\n'.slice(-27),
      });
    }
  });

  it('do not include a line whose start is missing, as it may be a part of a secret', () => {
    const { head, leftOut, tail } = bound(`first\n${'x'.repeat(100)}`, 20, 9);
    expect([head, tail]).toEqual(['first\nxxxx', '']);
    expect(leftOut).toEqual({ bytes: 96, lines: 0, streams: ['stdout'] });
  });

  it('include the rest of a line if nothing of its stream is missing', () => {
    const bounded = createHeadAndTail(20);
    bounded.push('stderr', Buffer.from('half a'));
    bounded.push('stdout', Buffer.from('aaa\n'.repeat(20)));
    bounded.push('stderr', Buffer.from(' line\n'));
    const { leftOut, chunks } = bounded.finish();
    expect(leftOut?.streams).toEqual(['stdout']);
    expect(text(chunks.filter(({ stream }) => stream === 'stderr').map(({ chunk }) => chunk))).toBe(
      ' line\n',
    );
  });

  it('have a limited number of chunks, however small these are', () => {
    const bounded = createHeadAndTail(64 * 1024 * 1024);
    bounded.push('stdout', Buffer.alloc(63 * 1024 * 1024, 'x\n'));
    for (let index = 0; index < 20_000; index += 1) bounded.push('stderr', Buffer.from('\n'));
    expect(bounded.finish().chunks.length).toBeLessThan(5_000);
  });
});
