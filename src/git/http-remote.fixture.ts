/** A bare repository served over http on loopback, and ways to see where a secret went, for the tests of this folder. */

import { readdir, readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { captureProcess } from '../process/capture.ts';
import { PATH } from './test-support.ts';

/** `host:port` of a server that ends with the test. */
export async function listen(handler: RequestListener): Promise<string> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('No port.');
  return `127.0.0.1:${address.port}`;
}

/** Answers a request below /r.git with git's own CGI program (git-http-backend(1)). */
export async function serveGit(
  repository: string,
  request: IncomingMessage,
  response: ServerResponse,
  options: { protocolVersion2?: boolean } = {},
): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://localhost');
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  const answer = await captureProcess({
    argv: ['git', 'http-backend'],
    cwd: '/',
    env: {
      PATH,
      GIT_PROJECT_ROOT: repository,
      GIT_HTTP_EXPORT_ALL: '1',
      PATH_INFO: url.pathname.replace(/^\/r\.git/, ''),
      QUERY_STRING: url.search.slice(1),
      REQUEST_METHOD: request.method ?? 'GET',
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: String(request.headers['content-encoding'] ?? ''),
      GIT_PROTOCOL: options.protocolVersion2 === false ? '' : String(request.headers['git-protocol'] ?? ''),
    },
    timeoutMs: 60_000,
    input: Buffer.concat(chunks),
  });
  if (answer.kind !== 'exited') throw new Error(`git http-backend: ${answer.kind}`);
  const output = answer.stdout;
  const end = output.indexOf('\r\n\r\n');
  const headers = output
    .subarray(0, end)
    .toString()
    .split('\r\n')
    .map((line) => line.split(': '));
  const status = headers.find(([name]) => name === 'Status')?.[1];
  for (const [name = '', value = ''] of headers)
    if (name && name !== 'Status') response.setHeader(name, value);
  response.writeHead(status ? Number.parseInt(status, 10) : 200).end(output.subarray(end + 4));
}

/** Every file below `directory` that holds one of the secrets. */
export async function filesWithSecrets(directory: string, secrets: readonly string[]): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const found: string[] = [];
  for (const entry of entries.filter((candidate) => candidate.isFile())) {
    const path = join(entry.parentPath, entry.name);
    const content = await readFile(path);
    if (secrets.some((secret) => content.includes(secret))) found.push(path);
  }
  return found;
}

/** Adds the command line of every process there is. */
export async function sampleCommandLines(samples: Set<string>): Promise<void> {
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    samples.add(await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => ''));
  }
}
