/** The ways in which GitHub can fail a caller, as scripts that the local GitHub follows. */

import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

export type Misbehaviour =
  /** A complete answer. `body` is sent as JSON unless it is a string. */
  | { kind: 'answer'; status: number; headers?: Record<string, string>; body: unknown }
  /** GitHub never answers. */
  | { kind: 'hang' }
  /** The connection is reset. */
  | { kind: 'reset' }
  /** The right answer arrives late. */
  | { kind: 'slow'; delayMs: number }
  /** The right answer arrives when this promise has resolved. */
  | { kind: 'held'; until: Promise<unknown> }
  /** The right answer with only half of its JSON, as a complete HTTP message. */
  | { kind: 'truncated' }
  /** The right answer, interrupted in the middle of its body. */
  | { kind: 'cut' };

interface CompleteAnswer {
  status: number;
  body: unknown;
  headers?: Record<string, string>;
}

export interface Script {
  how: Misbehaviour;
  /** The number of requests that are affected. */
  times: number | 'forever';
  /** The number of requests that pass first: with 2 and one time, the third request is affected. Default: none. */
  after?: number;
  /** Affects only requests with this method or path. Default: all. */
  method?: string;
  path?: RegExp;
  /**
   * If true, the request takes effect and only the answer goes wrong, as when a proxy fails afterwards. Requests
   * that get the right answer in some way (slow, held, truncated, cut) always take effect.
   */
  takesEffect?: boolean;
}

/** Collects the scripts, which are followed in the order of their arrival. */
export interface Scripts {
  add(script: Script): () => void;
  /** Returns the misbehaviour for this request, and counts the request. */
  next(method: string, path: string): Script | undefined;
}

export function createScripts(): Scripts {
  const active: { script: Script; toPass: number; left: number }[] = [];
  function remove(script: Script): void {
    const at = active.findIndex((entry) => entry.script === script);
    if (at >= 0) active.splice(at, 1);
  }
  return {
    add(script) {
      const left = script.times === 'forever' ? Number.POSITIVE_INFINITY : script.times;
      active.push({ script, toPass: script.after ?? 0, left });
      return () => remove(script);
    },
    next(method, path) {
      const entry = active.find(
        ({ script, left }) =>
          left > 0 && (script.method ?? method) === method && (script.path?.test(path) ?? true),
      );
      if (entry === undefined) return undefined;
      if (entry.toPass > 0) {
        entry.toPass -= 1;
        return undefined;
      }
      entry.left -= 1;
      return entry.script;
    },
  };
}

const error = (message: string): object => ({ message, documentation_url: 'https://docs.github.com/rest' });

/** The usual kinds of misbehaviour by name. */
export const MISBEHAVIOURS = {
  serverError: { kind: 'answer', status: 500, body: error('Server Error') },
  badGateway: { kind: 'answer', status: 502, body: error('Server Error') },
  htmlPage: {
    kind: 'answer',
    status: 502,
    headers: { 'content-type': 'text/html' },
    body: '<!DOCTYPE html><title>Unicorn! · GitHub</title>',
  },
  noContent: { kind: 'answer', status: 204, body: '' },
  badCredentials: { kind: 'answer', status: 401, body: error('Bad credentials') },
  forbidden: { kind: 'answer', status: 403, body: error('Resource not accessible by personal access token') },
  notFound: { kind: 'answer', status: 404, body: error('Not Found') },
  unprocessable: { kind: 'answer', status: 422, body: error('Validation Failed') },
  hang: { kind: 'hang' },
  reset: { kind: 'reset' },
  truncated: { kind: 'truncated' },
  cut: { kind: 'cut' },
} as const satisfies Record<string, Misbehaviour>;

/** https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits */
export function secondaryRateLimit(status: 403 | 429, retryAfterSeconds?: number): Misbehaviour {
  const headers = retryAfterSeconds === undefined ? {} : { 'retry-after': `${retryAfterSeconds}` };
  return { kind: 'answer', status, headers, body: error('You have exceeded a secondary rate limit.') };
}

/** An answer that redirects the caller to another address. A careful caller does not send its token there. */
export function redirect(location: string): Misbehaviour {
  return { kind: 'answer', status: 302, headers: { location }, body: error('Found') };
}

/** Gives a wrong answer to a request. `right` returns the right answer, and `send` sends a complete answer. */
export async function answerWrongly(
  response: ServerResponse,
  how: Misbehaviour,
  right: () => CompleteAnswer,
  send: (response: ServerResponse, answer: CompleteAnswer) => void,
): Promise<void> {
  switch (how.kind) {
    case 'answer':
      return send(response, how);
    case 'hang':
      return;
    case 'reset':
      response.socket?.resetAndDestroy();
      return;
    case 'slow':
    case 'held':
      await (how.kind === 'slow' ? sleep(how.delayMs) : how.until);
      return send(response, right());
    case 'truncated':
    case 'cut': {
      const answer = right();
      const content = JSON.stringify(answer.body);
      const half = content.slice(0, Math.floor(content.length / 2));
      if (how.kind === 'truncated') return send(response, { ...answer, body: half });
      const type = 'application/json; charset=utf-8';
      response.writeHead(answer.status, { 'content-type': type, 'content-length': content.length });
      response.write(half, () => response.destroy());
    }
  }
}
