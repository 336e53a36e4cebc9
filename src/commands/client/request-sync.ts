/** Sends a signed request to /sync of a running server, and follows the run on request. */

import { z } from 'zod';
import { loadClientConfig } from '../../config.ts';
import { signedHeaders } from '../../triggers/signature.ts';
import { newStamp } from '../sign.ts';
import { askServer } from './ask-server.ts';
import { followRun } from './follow-run.ts';

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

const answerSchema = z.object({ run_id: z.string(), services: z.array(z.string()), url: z.string() });

/** Prints the run. Resolves to true once it is accepted. If the run is followed, resolves to whether it succeeded. */
export async function requestSync(
  request: SyncRequestBody,
  { url, follow = false }: { url?: string | undefined; follow?: boolean | undefined },
): Promise<boolean> {
  const config = loadClientConfig();
  const server = url ?? config.url;
  const body = JSON.stringify(request);
  const said = await askServer(server, '/sync', {
    method: 'POST',
    headers: await signedHeaders(config.secret, body, newStamp()),
    body,
  });
  const answer = answerSchema.parse(said);
  process.stdout.write(
    `Run ${answer.run_id}: ${answer.services.join(', ') || 'no services'}\n${answer.url}\n`,
  );
  return follow ? await followRun(server, answer.url) : true;
}
