/** Preloaded into a server, so that signals can break it from inside, as no other program can. */

import type { Worker } from 'node:worker_threads';

// SIGUSR2 ends the server's threads.
process.on('worker', (thread: Worker) => {
  process.on('SIGUSR2', () => {
    void thread.terminate();
    process.stderr.write('Its threads die.\n');
  });
});

// SIGWINCH causes an error that nobody handles.
process.on('SIGWINCH', () => {
  void Promise.reject(new Error('planted by the test'));
});
