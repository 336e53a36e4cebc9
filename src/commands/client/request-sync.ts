/** Sends a request to /sync of a running server, with a token or a signature, and follows the run on request. */

import { z } from 'zod';
import { loadSenderConfig } from '../../config.ts';
import { signedHeaders } from '../../triggers/signature.ts';
import { newStamp } from '../sign.ts';
import { callerOf } from './ask-as-caller.ts';
import { askServer } from './ask-server.ts';
import { followRun } from './follow-run.ts';
import { withLikelyName } from './likely-name.ts';

/** The body that docs/sync.md describes. */
export interface SyncRequestBody {
  services?: string[];
  all?: true;
  force?: boolean;
  dry_run?: boolean;
  revision?: string;
  unpin?: boolean;
  environment?: string | undefined;
  repository?: string | undefined;
}

export interface SendOptions {
  url?: string | undefined;
  follow?: boolean | undefined;
  json?: boolean | undefined;
}

const answerSchema = z.object({ run_id: z.string(), services: z.array(z.string()), url: z.string() });

/** Prints the run. Resolves to true once it is accepted. If the run is followed, resolves to whether it succeeded. */
export async function requestSync(request: SyncRequestBody, options: SendOptions): Promise<boolean> {
  const config = loadSenderConfig();
  const server = options.url ?? config.url;
  const said =
    'token' in config ? await sendAsCaller(request, server) : await sendSigned(request, server, config);
  const { run_id: id, services, url } = answerSchema.parse(said);
  const text = `Run ${id}: ${services.join(', ') || 'no services'}\n${url}`;
  process.stdout.write(`${options.json ? JSON.stringify(said) : text}\n`);
  if (!options.follow) return true;
  const token = 'token' in config ? config.token : undefined;
  return followRun(server, url, { token, json: options.json });
}

function sendAsCaller(request: SyncRequestBody, server: string): Promise<unknown> {
  const ask = callerOf(server);
  return withLikelyName(ask, request, () => ask('POST', '/sync', request));
}

async function sendSigned(
  request: SyncRequestBody,
  server: string,
  { secret }: { secret: string },
): Promise<unknown> {
  const body = JSON.stringify(request);
  return askServer(server, '/sync', {
    method: 'POST',
    headers: await signedHeaders(secret, body, newStamp()),
    body,
  });
}
