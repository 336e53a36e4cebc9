/** Measures the selection of services after the fetch, in a repository of 10,000 services and 100,000 files. */

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createGit } from '../src/git/git.ts';
import { createMirror, type Mirror } from '../src/git/own/mirror.ts';
import { DEFAULT_RULES } from '../src/pipelines/rules/service-rules.ts';
import { digest, snapshotAt } from '../src/pipelines/rules/snapshot.ts';
import { type ExplainOptions, explain } from '../src/pipelines/selection/explain.ts';
import { ALL_CHANGED } from '../src/pipelines/selection/select-services.ts';
import type { Ledger, LedgerEntry } from '../src/runs/run-store.ts';
import type { Bench, Row } from './bench.ts';
import { withFolder } from './support/built-runner.ts';
import { generatePlatform } from './support/generated-platform.ts';
import { median, spread, times, wholeMs } from './support/statistics.ts';

const SERVICES = 10_000;
const FILES_PER_SERVICE = 10;
const CHANGED = 10;
/** The rounds follow three that only warm up. */
const ROUNDS = 10;

export const selection: Bench = {
  name: 'Choosing what to sync',
  method: `This measures only the engine, in this process and after the fetch: the time from a commit to the stored explanation of every service, in a repository of ${SERVICES.toLocaleString('en-US')} services and ${(SERVICES * FILES_PER_SERVICE).toLocaleString('en-US')} files. Each commit is new and changes ${CHANGED} services. The commits before it were read already, except in the second row, where the server was just started. The bound is one \`git ls-tree\` of the commit that lists the files; its output is read and thrown away.`,
  run: () =>
    withFolder('selection', async (folder) => {
      const size = { services: SERVICES, filesPerService: FILES_PER_SERVICE, waves: 5 };
      const platform = await generatePlatform(folder, size);
      const before = await platform.head();
      const services = Array.from({ length: CHANGED }, (_, index) => index * 100);
      const mirror = await fetchedMirror(folder, platform.path);
      const ledger = await syncedLedger(mirror, before);
      const cases = [
        { name: `A push that changes ${CHANGED}`, options: { ledger }, run: CHANGED },
        { name: 'The same by a server just started', options: { ledger }, run: CHANGED, fresh: true },
        { name: 'The first push ever seen', options: { befores: [before] }, run: CHANGED },
        {
          name: 'All, by force',
          options: { ledger, selection: { mode: 'all' }, force: true },
          run: SERVICES,
        },
      ] satisfies { name: string; options: Partial<ExplainOptions>; run: number; fresh?: true }[];
      const took = cases.map((): number[] => []);
      const listed: number[] = [];
      for (let round = -3; round < ROUNDS; round += 1) {
        for (const [index, { options, run, fresh }] of cases.entries()) {
          const revision = await platform.change(services);
          await mirror.fetch();
          // A copy remembers no answer that the mirror gave before.
          const repository = fresh ? { ...mirror } : mirror;
          const ms = await timedExplain({ repository, revision, ...options }, run);
          if (round >= 0) took[index]?.push(ms);
        }
        const ms = await timedListing(mirror, before);
        if (round >= 0) listed.push(ms);
      }
      return cases.map(({ name }, index): Row => row(name, took[index] ?? [], listed, index === 0));
    }),
};

/** Makes a mirror of the repository and fetches it. */
export async function fetchedMirror(folder: string, url: string): Promise<Mirror> {
  const { PATH = '' } = process.env;
  const git = createGit({ path: PATH, home: folder, remote: { url, token: null }, timeoutMs: 60_000 });
  const log = { warn: (_fields: object, message: string): void => console.warn(message) };
  const mirror = createMirror({
    git,
    directory: join(folder, 'mirror.git'),
    followed: { branch: 'main' },
    log,
  });
  await mirror.fetch();
  return mirror;
}

const EMPTY_LEDGER: Ledger = {
  entries: new Map(),
  baseline: null,
  examined: null,
  pins: new Map(),
  rules: null,
};
const ENVIRONMENT_DIGEST = digest(['ENV=production']);

/** Makes a ledger in which every service was synced at the commit. */
async function syncedLedger(mirror: Mirror, commit: string): Promise<Ledger> {
  const { services } = await snapshotAt({ repository: mirror, rules: DEFAULT_RULES }, commit);
  const entries = services.map(({ id, folder, tree, shared }): [string, LedgerEntry] => {
    const inputs = digest([folder, tree, shared, ENVIRONMENT_DIGEST]);
    const synced = { commit, tree, shared, inputs, configHash: null, runId: 'earlier', at: 0 };
    const attempted = {
      attemptedCommit: commit,
      attemptedRunId: 'earlier',
      attemptedInputs: inputs,
      attemptedAt: 0,
    };
    return [id, { service: id, folder, synced, outcome: 'succeeded', attempts: 0, ...attempted }];
  });
  return { ...EMPTY_LEDGER, entries: new Map(entries), baseline: commit };
}

/** Throws unless exactly this number of services is to be run. */
async function timedExplain(
  options: Pick<ExplainOptions, 'repository' | 'revision'> & Partial<ExplainOptions>,
  expected: number,
): Promise<number> {
  const startedAt = performance.now();
  const { selected } = await explain({
    ...ALL_CHANGED,
    runId: 'this',
    environment: null,
    befores: [],
    ledger: EMPTY_LEDGER,
    holds: [],
    environmentDigest: () => ENVIRONMENT_DIGEST,
    ...options,
  });
  const tookMs = performance.now() - startedAt;
  const running = selected.filter(({ decision }) => decision === 'run').length;
  if (running !== expected) throw new Error(`${running} services would be run, not ${expected}.`);
  return tookMs;
}

async function timedListing(mirror: Mirror, revision: string): Promise<number> {
  const args = [`--git-dir=${mirror.directory}`, 'ls-tree', '-r', '-t', '-z', revision];
  const startedAt = performance.now();
  await promisify(execFile)('git', args, { encoding: 'buffer', maxBuffer: 256 * 1024 * 1024 });
  return performance.now() - startedAt;
}

function row(measured: string, took: number[], listed: number[], withAim: boolean): Row {
  const ratios = took.map((value, index) => value / (listed[index] ?? 0));
  const bound = `git ls-tree: ${spread(listed, wholeMs)}`;
  const compared = { measured, ours: spread(took, wholeMs), bound, ratio: spread(ratios, times) };
  return withAim ? { ...compared, aim: '≤ 100 ms', met: median(took) <= 100 } : compared;
}
