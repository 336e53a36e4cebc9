import { expect, it, vi } from 'vitest';
import { startTellingLoop } from './telling-loop.ts';

it('A reporter is woken by a thousand changes without a single abort, and looks again after them', async () => {
  const aborts = vi.spyOn(AbortController.prototype, 'abort');
  let change: () => void = () => undefined;
  let looks = 0;
  const loop = startTellingLoop({
    store: {
      watch(listener) {
        change = () => listener('run', false);
        return () => undefined;
      },
    },
    log: { warn: () => undefined },
    tellers: [
      {
        what: 'statuses',
        async tellNext() {
          looks += 1;
          return null;
        },
      },
    ],
  });
  await loop.idle();
  const before = looks;
  for (let i = 0; i < 1_000; i += 1) change();
  // Sooner than it would look by itself.
  await vi.waitFor(() => expect(looks).toBeGreaterThan(before), { timeout: 4_500 });
  expect(aborts).not.toHaveBeenCalled();
  aborts.mockRestore();
  await loop.stop();
  const last = looks;
  change();
  await loop.idle();
  expect(looks).toBe(last);
});
