/** Requests with an API token, to a server that may be killed at any moment. */

import { parseBody } from '../support/webhook-sender.ts';
import { type Person, TOKENS } from './environments.ts';
import type { World } from './world.ts';

const ANSWER_LIMIT_MS = 10_000;

interface Question {
  method: 'GET' | 'POST' | 'DELETE';
  path: string;
  body?: object;
}

export interface Answer {
  status: number;
  body: unknown;
}

/** Returns null without an answer. */
export async function ask(
  { server }: Pick<World, 'server'>,
  person: Person,
  { method, path, body }: Question,
): Promise<Answer | null> {
  try {
    const response = await fetch(`${server.url()}${path}`, {
      method,
      headers: { accept: 'application/json', authorization: `Bearer ${TOKENS[person]}` },
      ...(body && { body: JSON.stringify(body) }),
      redirect: 'manual',
      signal: AbortSignal.timeout(ANSWER_LIMIT_MS),
    });
    return { status: response.status, body: parseBody(await response.text()) };
  } catch {
    return null;
  }
}
