/** One pipe for both outputs of a child, which keeps their order. */

import { close, constants, createWriteStream, openSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { RunnerError } from '../../errors.ts';

interface OnePipe {
  /** The stdout and the stderr of the child. Nobody else writes to it. */
  writeEnd: Writable;
  reader: Readable;
  /** Closes our own write end, which would keep the pipe open. Call it when the child is started. */
  closeWriteEnd(): void;
  /** Closes both ends. */
  close(): void;
}

/**
 * Node can only make socket pairs, one for each stream. So this makes a named pipe in a private folder, and removes the
 * folder before anybody uses it.
 */
export async function openOnePipe(): Promise<OnePipe> {
  const folder = await mkdtemp(path.join(tmpdir(), 'iac-runner-pipe-'));
  try {
    const name = path.join(folder, 'output');
    await makeNamedPipe(name);
    // The read end is non-blocking, because an open for reading would wait for the other end.
    const readEnd = openSync(name, constants.O_RDONLY | constants.O_NONBLOCK);
    const writeEnd = openSync(name, constants.O_WRONLY);
    const reader = new Socket({ fd: readEnd, readable: true, writable: false });
    let isOpen = true;
    const closeWriteEnd = (): void => {
      if (isOpen) close(writeEnd);
      isOpen = false;
    };
    return {
      writeEnd: createWriteStream(name, { fd: writeEnd, autoClose: false }),
      reader,
      closeWriteEnd,
      close() {
        closeWriteEnd();
        reader.destroy();
      },
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function makeNamedPipe(name: string): Promise<void> {
  const { execa } = await import('execa');
  const made = await execa('mkfifo', ['-m', '600', name], {
    env: { PATH: '/usr/bin:/bin' },
    extendEnv: false,
    reject: false,
    stdin: 'ignore',
  });
  if (made.failed) {
    throw new RunnerError(`A pipe could not be made in ${tmpdir()}.`, {
      nextAction: 'Install coreutils, and check whether the disk of that folder is full.',
    });
  }
}
