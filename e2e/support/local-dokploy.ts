/**
 * A local server that acts as Dokploy's API for compose services, and records every request that Dokploy would
 * refuse.
 */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { z } from 'zod';
import { answerWrongly, createScripts, type Script } from './github-misbehaviour.ts';
import { parseBody } from './webhook-sender.ts';

interface DokployRequest {
  method: string;
  /** `project.all`, `compose.one` or `compose.update`. */
  procedure: string;
  composeId: string | null;
}

export interface LocalDokployOptions {
  apiKey: string;
  /** Project → environment → compose service → its environment text. */
  projects: Record<string, Record<string, Record<string, string | null>>>;
}

export interface LocalDokploy {
  /** The value of DOKPLOY_URL. */
  url: string;
  requests: DokployRequest[];
  /** Requests that Dokploy's description does not allow, or that change values of other programs. */
  violations: string[];
  /** If false, `project.all` contains no environment texts, as in newer versions. */
  listsEnvironments: boolean;
  /** Called before a request is answered, e.g. to change a value as another person meanwhile. */
  onRequest: ((request: DokployRequest) => void) | null;
  /** The text by `<project>/<name>` of the compose service, in its first environment that has one. */
  env(path: string): string | null;
  setEnv(path: string, env: string): void;
  misbehave(script: Script): () => void;
  close(): Promise<void>;
}

interface Compose {
  composeId: string;
  name: string;
  env: string | null;
  composeStatus: 'done';
}

interface Project {
  projectId: string;
  name: string;
  environments: { environmentId: string; name: string; isDefault: boolean; compose: Compose[] }[];
}

interface Answer {
  status: number;
  body: unknown;
}

/** The fields that iac-runner may send. Dokploy has many more, and iac-runner must not send them. */
const updateSchema = z.strictObject({ composeId: z.string().min(1), env: z.string() });

const OUR_LINE = /^IAC_CONFIG_HASH=[0-9a-f]{12}$/;

/** Starts the server on a free port of the loopback interface. */
export async function startLocalDokploy(options: LocalDokployOptions): Promise<LocalDokploy> {
  const projects = describeProjects(options.projects);
  const composes = projects.flatMap(({ environments }) => environments.flatMap(({ compose }) => compose));
  const scripts = createScripts();

  function find(path: string): Compose {
    const [project, name] = path.split('/');
    const found = projects
      .filter((candidate) => candidate.name === project)
      .flatMap(({ environments }) => environments.flatMap(({ compose }) => compose))
      .find((compose) => compose.name === name);
    if (!found) throw new Error(`The local Dokploy has no ${path}.`);
    return found;
  }

  function act(request: DokployRequest, body: unknown): Answer {
    const compose = composes.find(({ composeId }) => composeId === request.composeId);
    switch (`${request.method} ${request.procedure}`) {
      case 'GET project.all':
        return { status: 200, body: dokploy.listsEnvironments ? projects : withoutTexts(projects) };
      case 'GET compose.one':
        return compose ? { status: 200, body: { ...compose, deployments: [] } } : NOT_FOUND;
      case 'POST compose.update':
        return compose ? update(compose, body) : NOT_FOUND;
      default:
        return refuse(`${request.method} ${request.procedure}`, 404, 'NOT_FOUND');
    }
  }

  function update(compose: Compose, body: unknown): Answer {
    const parsed = updateSchema.safeParse(body);
    if (!parsed.success) return refuse(`compose.update: ${parsed.error.message}`, 400, 'BAD_REQUEST');
    const { env } = parsed.data;
    const lost = foreignChange(compose.env ?? '', env);
    if (lost !== null) dokploy.violations.push(`compose.update of ${compose.name} changed ${lost}`);
    compose.env = env;
    return { status: 200, body: compose };
  }

  function refuse(violation: string, status: number, code: string): Answer {
    dokploy.violations.push(violation);
    return { status, body: { message: violation, code } };
  }

  async function answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const body = chunks.length === 0 ? undefined : parseBody(Buffer.concat(chunks).toString('utf8'));
    const url = new URL(incoming.url ?? '', 'http://localhost');
    const request = describeRequest(incoming.method ?? '', url, body);
    dokploy.requests.push(request);
    dokploy.onRequest?.(request);
    const script = scripts.next(request.method, url.pathname);
    const refusal = admit(incoming, url, options.apiKey, dokploy.violations);
    const right = (): Answer => refusal ?? act(request, body);
    if (script?.takesEffect && script.how.kind !== 'slow') right();
    if (script) return answerWrongly(response, script.how, right, send);
    send(response, right());
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => {
      if (!request.destroyed) dokploy.violations.push(`the local Dokploy failed: ${String(error)}`);
      response.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('The local Dokploy has no port.');

  const dokploy: LocalDokploy = {
    url: `http://127.0.0.1:${address.port}/api`,
    requests: [],
    violations: [],
    listsEnvironments: true,
    onRequest: null,
    env: (path) => find(path).env,
    setEnv: (path, env) => {
      find(path).env = env;
    },
    misbehave: (script) => scripts.add(script),
    close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      return closed;
    },
  };
  return dokploy;
}

const NOT_FOUND: Answer = { status: 404, body: { message: 'Compose not found', code: 'NOT_FOUND' } };

function describeProjects(described: LocalDokployOptions['projects']): Project[] {
  return Object.entries(described).map(([name, environments]) => ({
    projectId: `project-${name}`,
    name,
    environments: Object.entries(environments).map(([environment, compose], index) => ({
      environmentId: `environment-${name}-${environment}`,
      name: environment,
      isDefault: index === 0,
      compose: Object.entries(compose).map(([service, env]) => ({
        composeId: `compose/${name}-${environment}-${service}+?&`,
        name: service,
        env,
        composeStatus: 'done',
      })),
    })),
  }));
}

function withoutTexts(projects: readonly Project[]): unknown {
  return projects.map((project) => ({
    ...project,
    environments: project.environments.map((environment) => ({
      ...environment,
      compose: environment.compose.map(({ env: _env, ...rest }) => rest),
    })),
  }));
}

function describeRequest(method: string, url: URL, body: unknown): DokployRequest {
  const procedure = url.pathname.replace(/^\/api\//, '');
  const named = z.object({ composeId: z.string() }).safeParse(body).data?.composeId;
  return { method, procedure, composeId: url.searchParams.get('composeId') ?? named ?? null };
}

/** Returns null if the request is permitted, else the answer that refuses it. */
function admit(request: IncomingMessage, url: URL, apiKey: string, violations: string[]): Answer | null {
  const { headers, method } = request;
  const known = url.pathname.endsWith('/compose.one') ? ['composeId'] : [];
  if (!url.pathname.startsWith('/api/')) violations.push(`${url.pathname} is outside of the API`);
  for (const name of url.searchParams.keys()) {
    if (!known.includes(name)) violations.push(`${url.pathname} knows no parameter ${name}`);
  }
  for (const name of ['authorization', 'cookie']) {
    if (headers[name] !== undefined) violations.push(`${url.pathname} was sent a header ${name}`);
  }
  if (method === 'POST' && headers['content-type'] !== 'application/json') {
    violations.push(`${url.pathname} was sent ${headers['content-type'] ?? 'no content type'}`);
  }
  if (headers['x-api-key'] === apiKey) return null;
  violations.push(`${url.pathname} was called without the key`);
  return { status: 401, body: { message: 'UNAUTHORIZED', code: 'UNAUTHORIZED' } };
}

/** Returns a description of a change outside our own line, or null. */
function foreignChange(before: string, after: string): string | null {
  const others = (text: string): string[] =>
    text === '' ? [] : text.split('\n').filter((line) => !line.startsWith('IAC_CONFIG_HASH='));
  const [was, is] = [others(before), others(after)];
  const changed = was.find((line, index) => is[index] !== line);
  if (changed !== undefined) return `the line ${JSON.stringify(changed)}`;
  if (is.length > was.length) return `more than its own line: ${JSON.stringify(is.slice(was.length))}`;
  const ours = after.split(/\r?\n/).filter((line) => line.startsWith('IAC_CONFIG_HASH='));
  return ours.some((line) => OUR_LINE.test(line)) ? null : 'its own line to no hash';
}

function send(
  response: ServerResponse,
  { status, body, headers = {} }: Answer & { headers?: Record<string, string> },
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(typeof body === 'string' ? body : JSON.stringify(body));
}
