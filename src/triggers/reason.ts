/** The reason that somebody gives in a request, for everybody who reads about it later. */

import { z } from 'zod';
import { replaceUnseen } from '../runs/texts/unseen-characters.ts';

const MAX_REASON = 500;

/**
 * Replaces known secrets in a reason before it is stored, because everybody with the lowest role reads it. A reason with a
 * secret is not refused: a hold is set in an emergency, and must not fail because of its words.
 */
export type MaskReason = (reason: string) => string;

export const reasonSchema = z
  .string()
  .trim()
  .min(1, 'must not be empty')
  .max(MAX_REASON)
  .refine((text) => replaceUnseen(text, '') === text, 'must be one line without invisible characters');
