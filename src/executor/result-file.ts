/** The file in which a program may write its result, on the executor's side. */

import { constants } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { errorCode } from '../errors.ts';
import type { ProcessEnd } from '../process/supervise-process.ts';
import { KIBIBYTE } from '../units.ts';
import type { ProgramRequest } from './protocol.ts';

const MAX_BYTES = 64 * KIBIBYTE;
/** Sent instead of a file that cannot be read. It is no valid result. */
const UNREADABLE = '(unreadable)';

/** Passes the request to `work` with the variable in its environment, and removes the file afterwards. */
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

/** Resolves to null if there is no file. Does not follow links. Reads one byte too many, so that the reader notices a long file. */
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
    return errorCode(error) === 'ENOENT' ? null : UNREADABLE;
  }
}
