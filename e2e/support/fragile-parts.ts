/** Preloaded into a server: signals break it from inside, as no other program can. */

import type { Worker } from 'node:worker_threads';

// SIGUSR2: its threads die.
process.on('worker', (thread: Worker) => {
  process.on('SIGUSR2', () => {
    void thread.terminate();
    process.stderr.write('Its threads die.\n');
  });
});

// SIGWINCH: an error that nobody handles.
process.on('SIGWINCH', () => {
  void Promise.reject(new Error('planted by the test'));
});
