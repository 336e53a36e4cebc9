/** A stage for repositories that requests name: a remote over http with Basic auth, and the repositories on top of it. */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { GitAuth } from '../../runs/deployments/deployment.ts';
import { listen, serveGit } from '../http-remote.fixture.ts';
import { createWorld, PATH, type World } from '../test-support.ts';
import { createRemoteRepositories, type WritableRepositories } from './remote-repositories.ts';

export const PASSWORD = 'p@ss:CANARYcanary0123456789';
export const AUTH: GitAuth = { type: 'http', username: 'bot', password: PASSWORD };

export interface RemoteStage extends World {
  host: string;
  /** Without credentials. */
  url: string;
  repositories: WritableRepositories;
  /** The folder of the mirrors. */
  mirrors: string;
  tempDir: string;
  /** A place for a checkout that does not exist yet. */
  target(name?: string): string;
  /** The paths of requests with the right password, and the number of refused requests. */
  served: { admitted: string[]; refused: number };
  /** Sets what is done at each request, while the git that sent it waits. */
  onRequest(action: () => Promise<void>): void;
}

export async function createRemoteStage(
  options: { protocolVersion2?: boolean; hosts?: (host: string) => string[] } = {},
): Promise<RemoteStage> {
  const world = await createWorld();
  const served: RemoteStage['served'] = { admitted: [], refused: 0 };
  let action = async (): Promise<void> => undefined;
  const expected = `Basic ${Buffer.from(`bot:${PASSWORD}`).toString('base64')}`;
  const host = await listen(async (request, response) => {
    await action();
    if (request.headers.authorization !== expected) {
      served.refused += 1;
      response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end('not our ref');
      return;
    }
    served.admitted.push(request.url ?? '');
    await serveGit(world.remote, request, response, options);
  });
  const mirrors = join(world.root, 'repositories');
  const tempDir = join(world.root, 'tmp');
  await mkdir(tempDir);
  const repositories = createRemoteRepositories({
    directory: mirrors,
    path: PATH,
    home: world.root,
    timeoutMs: 60_000,
    rules: { protocols: ['http', 'https', 'ssh', 'file'], hosts: options.hosts?.(host) ?? [host] },
    network: {},
    log: { warn: (_fields, message) => void world.warnings.push(message) },
    tempDir,
    lockStaleMs: 2000,
  });
  return {
    ...world,
    host,
    url: `http://${host}/r.git`,
    repositories,
    mirrors,
    tempDir,
    served,
    target: (name = 'checkout') => join(world.root, 'runs', name),
    onRequest: (next) => {
      action = next;
    },
  };
}
