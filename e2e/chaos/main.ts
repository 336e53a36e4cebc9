/**
 * `npm run chaos -- --rounds N --seed S [--store postgres]` exits with 0 if all promises held, and otherwise with 1
 * and the story. With `--only "full disk"`, that fault is the only one and happens in every round.
 */

import { parseArgs } from 'node:util';
import { obtainInvoke } from '../support/obtain-invoke.ts';
import { runChaos } from './chaos.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '20' },
    seed: { type: 'string', default: `${Math.floor(Math.random() * 2 ** 32)}` },
    source: { type: 'string' },
    store: { type: 'string', default: 'sqlite' },
    only: { type: 'string' },
    story: { type: 'boolean', default: false },
  },
});

const log = (line: string): void => console.log(line);
const invoke = await obtainInvoke({ log });
if ('missing' in invoke) {
  console.error(invoke.missing);
  process.exit(1);
}
const seed = Number(values.seed);
const rounds = Number(values.rounds);
if (!Number.isSafeInteger(seed) || !Number.isSafeInteger(rounds) || rounds < 1) {
  console.error('--rounds must be a whole number above 0, --seed a whole number.');
  process.exit(2);
}
const { store } = values;
if (store !== 'sqlite' && store !== 'postgres') {
  console.error('--store must be sqlite or postgres.');
  process.exit(2);
}
log(`chaos: ${rounds} rounds, seed ${seed}, store ${store}`);
const result = await runChaos({
  rounds,
  seed,
  store,
  invoke: invoke.argv,
  ...(values.source === undefined ? {} : { source: values.source }),
  only: values.only,
  log,
});
if (values.story || result.problems.length > 0) log(`\n${result.story}`);
for (const [what, count] of Object.entries(result.counts)) log(`${what}: ${count}`);
if (result.problems.length > 0) {
  console.error(`\nFailed in round ${result.rounds} with seed ${seed}:`);
  for (const { invariant, detail } of result.problems) console.error(`- ${invariant}: ${detail}`);
  console.error(`Everything is in ${result.folder ?? 'no folder'}`);
}
process.exit(result.problems.length > 0 ? 1 : 0);
