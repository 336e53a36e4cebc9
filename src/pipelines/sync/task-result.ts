/** The file in which a task may say what it did (IAC_RESULT_FILE). */

import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { z } from 'zod';

const MAX_BYTES = 64 * 1024;

const resultSchema = z.object({
  action: z.enum(['created', 'updated', 'skipped', 'failed']),
  details: z.string().optional(),
});

export type TaskResult =
  | { kind: 'said'; action: z.output<typeof resultSchema>['action']; details: string }
  | { kind: 'nothing' }
  | { kind: 'unreadable' };

/**
 * Never throws: what cannot be read or understood is `unreadable`. Links are not followed. The details are masked
 * before they are cut, so that no part of a secret survives at the cut.
 */
export async function readTaskResult(file: string, mask: (text: string) => string): Promise<TaskResult> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
    (error: NodeJS.ErrnoException) => error,
  );
  if (handle instanceof Error) return { kind: handle.code === 'ENOENT' ? 'nothing' : 'unreadable' };
  try {
    const buffer = Buffer.alloc(MAX_BYTES + 1);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
    if (bytesRead === 0) return { kind: 'nothing' };
    if (bytesRead > MAX_BYTES) return { kind: 'unreadable' };
    const { action, details } = resultSchema.parse(JSON.parse(buffer.toString('utf8', 0, bytesRead)));
    return { kind: 'said', action, details: mask(details ?? '').slice(0, 500) };
  } catch {
    return { kind: 'unreadable' };
  } finally {
    await handle.close();
  }
}
