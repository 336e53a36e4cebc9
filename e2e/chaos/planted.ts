/** `npm run chaos:planted` plants each known defect in a copy of the program and shows that chaos notices it. */

import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { obtainInvoke } from '../support/obtain-invoke.ts';
import { makeTemporaryFolder, removeFolder } from '../support/temporary-folder.ts';
import { runChaos } from './chaos.ts';
import { DEFECTS, type Defect, plant } from './defects.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '40' },
    seed: { type: 'string', default: `${Math.floor(Math.random() * 2 ** 32)}` },
    only: { type: 'string' },
  },
});

async function tryDefect(defect: Defect, invoke: readonly string[]): Promise<boolean> {
  const folder = await makeTemporaryFolder('planted');
  try {
    const source = await plant(defect, join(folder, defect.name));
    const rounds = Number(values.rounds);
    const result = await runChaos({
      rounds,
      seed: Number(values.seed),
      store: 'sqlite',
      invoke,
      source,
      only: defect.needs,
      log: () => {},
    });
    const [other] = result.problems;
    const problem = result.problems.find(({ invariant }) => defect.breaks.includes(invariant));
    const { invariant, detail } = problem ?? other ?? { invariant: 'nothing', detail: 'all promises held' };
    const verdict = problem ? 'caught' : 'NOT caught';
    console.log(`${defect.name}: ${verdict} in ${result.rounds} rounds: ${invariant} (${detail})`);
    if (!problem && result.folder !== null) console.log(`The folder is kept: ${result.folder}`);
    else if (result.folder !== null) await removeFolder(result.folder);
    return problem !== undefined;
  } finally {
    await removeFolder(folder);
  }
}

const invoke = await obtainInvoke({ log: (line) => console.log(line) });
if ('missing' in invoke) {
  console.error(invoke.missing);
  process.exit(1);
}
const chosen = DEFECTS.filter(({ name }) => values.only === undefined || values.only === name);
console.log(`seed ${values.seed}`);
let caught = 0;
for (const defect of chosen) caught += Number(await tryDefect(defect, invoke.argv));
console.log(`${caught} of ${chosen.length} planted defects were caught.`);
process.exit(caught === chosen.length ? 0 : 1);
