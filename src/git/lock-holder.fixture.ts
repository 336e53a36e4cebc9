/** A process that takes the lock of a folder again and again until it is killed. Says "held" each time. */

import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAlive, startTicksOf } from '../process/process-stat.ts';
import { createFolderLock } from './folder-lock.ts';

const [directory = '', holdMs = '0', inside = ''] = process.argv.slice(2);
const lock = createFolderLock({ directory, waitMs: 60_000, fail: (message) => new Error(message) });
const mark = `${process.pid}.${startTicksOf(process.pid)}`;

for (;;) {
  await lock.hold(undefined, async () => {
    writeFileSync(`${inside}/${mark}`, '');
    for (const other of readdirSync(inside)) {
      const [pid = '', startTicks = ''] = other.split('.');
      if (other !== mark && isAlive({ pid: Number(pid), startTicks }))
        process.stdout.write(`overlaps ${other}\n`);
    }
    process.stdout.write('held\n');
    await sleep(Number(holdMs));
    rmSync(`${inside}/${mark}`);
  });
  await sleep(1);
}
