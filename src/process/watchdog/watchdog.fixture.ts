/** A program that holds a task by a watchdog, to be killed or stopped by a test: prints the ids of task and watchdog. */

import { closeSync, openSync } from 'node:fs';
import { startTicksOf } from '../process-stat.ts';
import { superviseProcess } from '../supervise-process.ts';
import { startWatchdog } from './watchdog.ts';

const [silenceMs = '2000', script = 'sleep 600'] = process.argv.slice(2);
const watchdog = startWatchdog({
  silenceMs: Number(silenceMs),
  graceMs: 500,
  onReplaced: () => process.stdout.write('replaced\n'),
});
process.on('SIGHUP', () => process.stdout.write('a turn later\n'));
// Opens all the files that it may open, for a second.
process.on('SIGUSR2', () => {
  const taken: number[] = [];
  try {
    for (;;) taken.push(openSync('/dev/null', 'r'));
  } catch {
    process.stdout.write('no more files\n');
  }
  setTimeout(() => taken.forEach((file) => void closeSync(file)), 1_000);
});
const end = await superviseProcess(
  {
    argv: ['sh', '-c', script],
    cwd: '/',
    env: { PATH: '/usr/bin:/bin', MARK: `${process.pid}` },
    marker: `MARK=${process.pid}`,
    timeoutMs: 60_000,
    watchdog,
  },
  {
    onStart: ({ pid }) => void process.stdout.write(`task ${pid} ${startTicksOf(pid)}\n`),
    onChunk: (_, chunk) => void process.stdout.write(chunk),
  },
);
process.stdout.write(`${JSON.stringify(end)}\n`);
await watchdog.close();
process.stdout.write('closed\n');
