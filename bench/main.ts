/**
 * Runs for `npm run bench`: every bench, or those whose names are given. It writes docs/benchmarks.md after a full run.
 */

import { writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { PROJECT_ROOT } from '../e2e/support/project-root.ts';
import { accept } from './accept.ts';
import type { Bench } from './bench.ts';
import { deployment } from './deployment.ts';
import { firstTask } from './first-task.ts';
import { fullStore } from './full-store.ts';
import { jobs } from './jobs.ts';
import { logLines } from './log-lines.ts';
import { longLog } from './long-log.ts';
import { noOpSync } from './no-op-sync.ts';
import { receivers } from './receivers.ts';
import { recovery } from './recovery.ts';
import { selection } from './selection.ts';
import { start } from './start.ts';
import { stores } from './stores.ts';
import { benchmarksDocument, benchSection } from './support/document.ts';
import { wave } from './wave.ts';
import { whileTasks } from './while-tasks.ts';

/** The order is that of the document. Each name is the word that runs one bench alone. */
const BENCHES: Record<string, Bench> = {
  accept,
  receivers,
  'while-tasks': whileTasks,
  'no-op-sync': noOpSync,
  selection,
  'first-task': firstTask,
  start,
  'log-lines': logLines,
  'long-log': longLog,
  wave,
  recovery,
  deployment,
  jobs,
  stores,
  'full-store': fullStore,
};

async function main(words: string[]): Promise<void> {
  const unknown = words.filter((word) => BENCHES[word] === undefined);
  if (unknown.length > 0) {
    throw new Error(`No bench ${unknown.join(', ')}. There are ${Object.keys(BENCHES).join(', ')}.`);
  }
  const [loadBefore = 0] = loadavg();
  const sections: string[] = [];
  for (const [word, bench] of Object.entries(BENCHES)) {
    if (words.length > 0 && !words.includes(word)) continue;
    const startedAt = performance.now();
    const section = benchSection(bench, await bench.run());
    sections.push(section);
    console.log(`${section}\n(${Math.round((performance.now() - startedAt) / 1000)} s)\n`);
  }
  // The document would lack the other tables if one bench ran alone.
  if (words.length === 0)
    writeFileSync(join(PROJECT_ROOT, 'docs/benchmarks.md'), benchmarksDocument(sections, loadBefore));
}

await main(process.argv.slice(2));
