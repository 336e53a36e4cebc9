/** Compresses answers with text for clients that accept it: pages, JSON, logs, styles and scripts. */

import type { MiddlewareHandler } from 'hono';
import { compress } from 'hono/compress';

/** Event streams are sent as they are, because their events must arrive one by one. */
export function compressTexts(): MiddlewareHandler {
  return compress({ encoding: 'gzip', contentTypeFilter: isText });
}

function isText(type: string): boolean {
  return /^(?:text\/(?!event-stream)|application\/(?:[\w.-]+\+)?json\b|image\/svg\+xml)/i.test(type);
}
