/** Reads the file in which a task may say what it did. */

import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { z } from 'zod';
import { errorCode } from '../../errors.ts';
import { KIBIBYTE } from '../../units.ts';

const MAX_RESULT_BYTES = 64 * KIBIBYTE;
const MAX_DETAILS_CHARACTERS = 500;

const resultSchema = z.object({
  action: z.enum(['created', 'updated', 'skipped', 'failed']),
  details: z.string().optional(),
});

export type TaskResult =
  | { kind: 'said'; action: z.output<typeof resultSchema>['action']; details: string }
  | { kind: 'nothing' }
  | { kind: 'unreadable' };

/**
 * Reads the file in which a task may say what it did (IAC_RESULT_FILE). Never throws, and does not follow links. Masks
 * the details before it cuts them, so that no part of a secret stays at the cut.
 */
export async function readTaskResult(file: string, mask: (text: string) => string): Promise<TaskResult> {
  try {
    const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const buffer = Buffer.alloc(MAX_RESULT_BYTES + 1);
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
      if (bytesRead === 0) return { kind: 'nothing' };
      if (bytesRead > MAX_RESULT_BYTES) return { kind: 'unreadable' };
      const { action, details = '' } = resultSchema.parse(JSON.parse(buffer.toString('utf8', 0, bytesRead)));
      return { kind: 'said', action, details: mask(details).slice(0, MAX_DETAILS_CHARACTERS) };
    } finally {
      await handle.close();
    }
  } catch (error) {
    return { kind: errorCode(error) === 'ENOENT' ? 'nothing' : 'unreadable' };
  }
}
