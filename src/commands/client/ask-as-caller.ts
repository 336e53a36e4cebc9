/** Sends requests to a running server in the name of the caller, whom an API token identifies. */

import { loadApiClientConfig } from '../../config.ts';
import { askServer } from './ask-server.ts';

export type AskAsCaller = (
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: object,
) => Promise<unknown>;

/** `url` replaces the configured address. Throws ConfigError without a token. */
export function callerOf(url: string | undefined): AskAsCaller {
  const { token, url: configured } = loadApiClientConfig();
  const headers = { Accept: 'application/json', Authorization: `Bearer ${token}` };
  return (method, path, body) =>
    askServer(url ?? configured, path, { method, headers, ...(body && { body: JSON.stringify(body) }) });
}

/** Texts of other people must not control the terminal. */
export function printable(text: string): string {
  return text.replace(/\p{C}/gu, '');
}
