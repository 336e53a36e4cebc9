/** Serves a bare repository over http to clients that send the right password. */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { execa } from 'execa';

export interface GitServer {
  /** The address without credentials, e.g. `127.0.0.1:40123/platform.git`. */
  address: string;
  /** The number of requests with the right credentials. */
  admitted: number;
  /** Answers every request with this status from now on. Null makes it serve again. */
  refuseWith(status: number | null): void;
  close(): Promise<void>;
}

export interface GitServerOptions {
  repositoryPath: string;
  user: string;
  password: string;
  /** The last part of its address. Default: `platform.git`. */
  name?: string;
  /** Called for each request, while the git client waits. */
  onRequest(): void;
}

/** Starts the server on a free port of the loopback interface. It serves only fetches, by git's own CGI program. */
export async function serveGitOverHttp(options: GitServerOptions): Promise<GitServer> {
  const expected = `Basic ${Buffer.from(`${options.user}:${options.password}`).toString('base64')}`;
  const { name = 'platform.git' } = options;
  let refusal: number | null = null;
  let admitted = 0;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    options.onRequest();
    const { authorization } = request.headers;
    if (refusal !== null) {
      // The answer repeats the request, as careless servers do.
      response
        .writeHead(refusal, { 'content-type': 'text/plain' })
        .end(`remote: ${authorization} is not allowed here\n`);
    } else if (authorization !== expected) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end();
    } else {
      admitted += 1;
      await backend(options.repositoryPath, name, request, response);
    }
  }

  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('The git server has no port.');
  return {
    address: `127.0.0.1:${address.port}/${name}`,
    get admitted() {
      return admitted;
    },
    refuseWith(status) {
      refusal = status;
    },
    close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      return closed;
    },
  };
}

/** Runs git as git-http-backend(1) and RFC 3875 describe. */
async function backend(
  repositoryPath: string,
  name: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://git.invalid');
  const { stdout } = await execa('git', ['http-backend'], {
    extendEnv: false,
    env: {
      PATH: process.env.PATH ?? '',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_PROJECT_ROOT: repositoryPath,
      GIT_HTTP_EXPORT_ALL: '1',
      PATH_INFO: url.pathname.startsWith(`/${name}`) ? url.pathname.slice(name.length + 1) : '',
      QUERY_STRING: url.search.slice(1),
      REQUEST_METHOD: request.method ?? 'GET',
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: String(request.headers['content-encoding'] ?? ''),
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
    },
    input: request,
    encoding: 'buffer',
  });
  const output = Buffer.from(stdout);
  const end = output.indexOf('\r\n\r\n');
  const headers = output
    .toString('latin1', 0, end)
    .split('\r\n')
    .map((line) => line.split(': '));
  const status = headers.find(([name]) => name === 'Status')?.[1];
  for (const [name = '', value = ''] of headers) if (name !== 'Status') response.setHeader(name, value);
  response.writeHead(status === undefined ? 200 : Number.parseInt(status, 10)).end(output.subarray(end + 4));
}
