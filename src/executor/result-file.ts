/** The file in which a program may leave a few words for who asked for it, on the executor's side. */

import { constants } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { ProcessEnd } from '../process/supervise-process.ts';
import type { ProgramRequest } from './protocol.ts';

const MAX_BYTES = 64 * 1024;
/** In place of what cannot be read; no reader takes it for a result. */
const UNREADABLE = '(unreadable)';

/** Gives `work` the request with the variable in its environment, and takes the file away again. */
export async function withResultFile(
  request: ProgramRequest,
  work: (request: ProgramRequest) => Promise<ProcessEnd>,
): Promise<{ end: ProcessEnd; result?: string }> {
  const { result_variable: variable } = request;
  if (variable === undefined) return { end: await work(request) };
  const folder = await mkdtemp(path.join(tmpdir(), 'iac-runner-result-'));
  try {
    const file = path.join(folder, 'result');
    const end = await work({ ...request, env_vars: { ...request.env_vars, [variable]: file } });
    const result = await read(file);
    return result === null ? { end } : { end, result };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Null when there is none. Links are not followed. One byte more than allowed tells the reader that it is too long. */
async function read(file: string): Promise<string | null> {
  try {
    const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const buffer = Buffer.alloc(MAX_BYTES + 1);
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
      return buffer.toString('utf8', 0, bytesRead);
    } finally {
      await handle.close();
    }
  } catch (error) {
    const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    return isMissing ? null : UNREADABLE;
  }
}
