/**
 * A local server that acts as GitHub: the API for commit statuses, deployments and comments, and the sender of
 * webhooks.
 */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type CommentBook, createCommentBook } from './github-comments.ts';
import type { CheckResult } from './github-contract.ts';
import { createDeploymentBook, type DeploymentBook } from './github-deployments.ts';
import { createHookBook, type HookBook } from './github-hooks.ts';
import { answerWrongly, createScripts, type Script } from './github-misbehaviour.ts';
import { createPeopleBook, type PeopleBook } from './github-people.ts';
import { createPullBook, type PullBook } from './github-pulls.ts';
import { describeFullRepository } from './github-repository.ts';
import { admit, type Caller } from './github-request-checks.ts';
import { type ApiAnswer, createStatusBook, refusal, type StatusBook } from './github-statuses.ts';
import { createWebhookSender, parseBody, type WebhookSender } from './webhook-sender.ts';

interface RecordedRequest extends Caller {
  /** Milliseconds since the epoch. `answeredAt` and `status` are null if no answer was sent, or not yet. */
  receivedAt: number;
  answeredAt: number | null;
  status: number | null;
  /**
   * The number of other requests that were still open when this request arrived: 0 for a caller that sends one at a
   * time.
   */
  others: number;
}

export interface LocalGithubOptions {
  /** `owner/name` of the only repository. */
  fullName: string;
  /** The only accepted token. */
  token: string;
  /** A bare repository that says which commits exist. Without it, every full commit id exists. */
  repositoryPath?: string;
}

export interface LocalGithub extends WebhookSender {
  /** The value of GITHUB_API_URL. */
  url: string;
  fullName: string;
  token: string;
  statuses: StatusBook;
  deployments: DeploymentBook;
  hooks: HookBook;
  comments: CommentBook;
  pulls: PullBook;
  people: PeopleBook;
  requests: RecordedRequest[];
  /** Requests that GitHub's description does not allow. */
  violations: string[];
  /** Follows a script from now on. Returns the function that stops it. */
  misbehave(script: Script): () => void;
  close(): Promise<void>;
}

/** Throws if a caller broke GitHub's rules. Called at the end of each test. */
export function expectNoViolations(github: LocalGithub): void {
  if (github.violations.length > 0) {
    throw new Error(`Requests that GitHub would not take:\n${github.violations.join('\n')}`);
  }
}

/** Starts the server on a free port of the loopback interface. */
export async function startLocalGithub(options: LocalGithubOptions): Promise<LocalGithub> {
  const requests: RecordedRequest[] = [];
  const violations: string[] = [];
  const scripts = createScripts();
  const receive = createRecorder(requests);
  let url = '';
  const repository = describeFullRepository(options.fullName);
  const sender = createWebhookSender();
  const hooks = createHookBook({ ...options, apiUrl: () => url, attempts: sender.deliveries });
  const comments = createCommentBook({ ...options, apiUrl: () => url, violations });
  const pulls = createPullBook({ ...options, apiUrl: () => url });
  const people = createPeopleBook();
  const statuses = createStatusBook({ ...options, apiUrl: () => url, repository, violations });
  const deployments = createDeploymentBook({ ...options, apiUrl: () => url, statuses, violations });

  async function act(
    { operation, parameters }: CheckResult,
    { body, url: address }: Caller,
  ): Promise<ApiAnswer> {
    const { sha = '', ref = '', hook_id = '' } = parameters;
    const query = new URL(address, 'http://github.invalid').searchParams;
    const aboutDeployments = deployments.answer(operation, { parameters, query, body });
    if (aboutDeployments !== null) return aboutDeployments;
    const issue = Number(parameters.issue_number);
    if (operation === 'repos/create-commit-status') return statuses.create(sha, body);
    if (operation === 'repos/list-commit-statuses-for-ref') return statuses.list(ref, query);
    if (operation === 'repos/get-combined-status-for-ref') return statuses.combined(ref);
    if (operation === 'repos/list-webhooks') return hooks.list();
    if (operation === 'repos/list-webhook-deliveries') return hooks.deliveries(hook_id, query);
    if (operation === 'issues/list-comments') return comments.list(issue, query);
    if (operation === 'issues/create-comment') return comments.create(issue, body);
    if (operation === 'issues/update-comment') return comments.update(Number(parameters.comment_id), body);
    if (operation === 'pulls/get') return pulls.get(Number(parameters.pull_number));
    if (operation === 'pulls/list-reviews') return pulls.reviews(Number(parameters.pull_number), query);
    if (operation === 'repos/get-collaborator-permission-level') {
      return people.permission(parameters.username ?? '');
    }
    if (operation === 'users/get-authenticated') return comments.user();
    if (operation === 'repos/get') return { status: 200, body: repository };
    violations.push(`${operation} is not played by the local GitHub`);
    return refusal(404, 'Not Found');
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const recorded = await receive(request, response);
    const admission = admit(recorded, options);
    if (!admission.admitted && admission.violation) violations.push(admission.violation);
    const script = scripts.next(recorded.method, recorded.url);
    if (script && !script.takesEffect && !carriesRightAnswer(script))
      return answerWrongly(response, script.how, () => refusal(500, 'Server Error'), send);
    const right = admission.admitted ? await act(admission.result, recorded) : admission.answer;
    return script ? answerWrongly(response, script.how, () => right, send) : send(response, right);
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => {
      // A caller may disconnect while it sends. Every other error is a mistake in this server.
      if (!request.destroyed) violations.push(`the local GitHub failed: ${String(error)}`);
      response.destroy();
    });
  });
  // The caller closes idle connections. If the server closed one while a request arrives, the caller would have to
  // try again.
  server.keepAliveTimeout = 0;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${portOf(server.address())}`;
  return {
    ...sender,
    url,
    fullName: options.fullName,
    token: options.token,
    statuses,
    deployments,
    hooks,
    comments,
    pulls,
    people,
    requests,
    violations,
    misbehave: (script) => scripts.add(script),
    close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      return closed;
    },
  };
}

function portOf(address: string | AddressInfo | null): number {
  if (address === null || typeof address === 'string') throw new Error('The local GitHub has no port.');
  return address.port;
}

type Recorder = (request: IncomingMessage, response: ServerResponse) => Promise<RecordedRequest>;

function createRecorder(requests: RecordedRequest[]): Recorder {
  let open = 0;
  return async (request, response) => {
    const recorded: RecordedRequest = {
      method: request.method ?? '',
      url: request.url ?? '',
      headers: request.headers,
      body: undefined,
      receivedAt: Date.now(),
      answeredAt: null,
      status: null,
      others: open,
    };
    requests.push(recorded);
    open += 1;
    response.on('close', () => {
      open -= 1;
    });
    response.on('finish', () => {
      recorded.answeredAt = Date.now();
      recorded.status = response.statusCode;
    });
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    if (chunks.length > 0) recorded.body = parseBody(Buffer.concat(chunks).toString('utf8'));
    return recorded;
  };
}

function carriesRightAnswer({ how }: Script): boolean {
  return ['slow', 'held', 'truncated', 'cut'].includes(how.kind);
}

function send(response: ServerResponse, { status, body, headers }: ApiAnswer): void {
  const content = typeof body === 'string' ? body : JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'x-github-media-type': 'github.v3; format=json',
    'x-ratelimit-limit': '5000',
    'x-ratelimit-remaining': '4987',
    'x-ratelimit-reset': `${Math.ceil(Date.now() / 1000) + 3_000}`,
    'x-ratelimit-resource': 'core',
    ...headers,
  });
  response.end(content);
}
