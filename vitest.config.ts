import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** A test ends by what happens; a limit only says that something hangs, also on a machine that is busy with other work. */
const LIMITS = { testTimeout: 240_000, hookTimeout: 240_000, expect: { poll: { timeout: 120_000 } } };

/** In this order, so that none of them is left to run alone at the end. */
const LONGEST = [
  ...['chaos', 'isolated', 'dokploy', 'isolated-user', 'disk', 'clock', 'comment-commands', 'jobs-chaos'],
  ...['jobs-faults', 'postgres-faults', 'webhook-limits', 'histories', 'pages', 'jobs'],
].map((name) => `/e2e/${name}.test.ts`);

/** vitest asks for a class. Without it the order is that of the sizes of the files. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification): number => {
      const found = LONGEST.findIndex((name) => moduleId.endsWith(name));
      return found < 0 ? LONGEST.length : found;
    };
    return (await super.sort(files)).toSorted((one, other) => place(one) - place(other));
  }
}

// The servers that tests start are compiled once.
process.env.NODE_COMPILE_CACHE ??= join(import.meta.dirname, 'node_modules/.cache/node');

export default defineConfig({
  test: {
    // Most tests wait for processes of their own, so more than one per core pays.
    maxWorkers: Math.min(2 * availableParallelism(), 8),
    sequence: { sequencer: LongestFirst },
    projects: [
      { test: { name: 'unit', include: ['src/**/*.test.ts'], ...LIMITS } },
      {
        test: {
          name: 'e2e',
          include: ['e2e/**/*.test.ts'],
          globalSetup: ['e2e/support/global-setup.ts'],
          ...LIMITS,
        },
      },
    ],
  },
});
