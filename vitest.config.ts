import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

/** A test ends by what happens; a limit only says that something hangs, also on a machine that is busy with other work. */
const LIMITS = { hookTimeout: 180_000, expect: { poll: { timeout: 60_000 } } };

export default defineConfig({
  test: {
    // Most tests wait for processes of their own, so more than one per core pays.
    maxWorkers: Math.min(2 * availableParallelism(), 8),
    projects: [
      { test: { name: 'unit', include: ['src/**/*.test.ts'], testTimeout: 120_000, ...LIMITS } },
      {
        test: {
          name: 'e2e',
          include: ['e2e/**/*.test.ts'],
          globalSetup: ['e2e/support/global-setup.ts'],
          testTimeout: 240_000,
          ...LIMITS,
        },
      },
    ],
  },
});
