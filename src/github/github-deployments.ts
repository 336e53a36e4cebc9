/** Writes deployments and their statuses to GitHub. */

import type { Octokit } from '@octokit/rest';
import { z } from 'zod';
import { parseJson } from '../parse-json.ts';
import { SECOND } from '../units.ts';
import {
  classifyAnswer,
  classifySilence,
  describeAnswer,
  type GitHubAnswer,
  isLimited,
  type SendOutcome,
  type Written,
} from './github-answer.ts';
import {
  describeSilence,
  type GitHubClientOptions,
  Headers,
  isOddAnswer,
  loadOctokit,
  readAnswer,
  readPages,
} from './github-client.ts';

interface Repository {
  owner: string;
  repo: string;
}

interface DeploymentRequest extends Repository {
  /** Full commit id. */
  sha: string;
  environment: string;
  /** It finds the deployment again. */
  runId: string;
  services: readonly string[];
  /** The deployment may exist already, because the answer to an earlier try is not known. */
  mayExist: boolean;
  /** False: a deployment that does not exist is not created. */
  creates: boolean;
}

export interface DeploymentStatusRequest extends Repository {
  id: number;
  state: 'queued' | 'in_progress' | 'success' | 'failure' | 'error' | 'inactive';
  description: string;
  logUrl: string;
  environmentUrl: string | null;
}

type Failure = Exclude<SendOutcome, { kind: 'ok' }>;

/** `id` is null if there is no deployment, and none was to be created. */
type DeploymentOutcome = { kind: 'ok'; id: number | null } | Failure;

/** Neither method throws: the outcome says what went wrong and when to try again. */
export interface GitHubDeployments {
  put(request: DeploymentRequest): Promise<DeploymentOutcome>;
  setStatus(request: DeploymentStatusRequest): Promise<SendOutcome>;
}

const DEPLOYMENT: Written = { name: 'deployment', permission: 'deployments' };
const TASK = 'deploy';
/** These tries take seconds. A permission does not come by itself, and newer deployments of the environment wait. */
const TRIES_WITHOUT_PERMISSION = 3;
/** These tries take about three hours. */
const TRIES_TO_CREATE = 20;
/** These tries take a day. */
const TRIES_OF_STATUS = 100;
/** A deployment that was just created may be missing in a list for a moment. */
const LEAST_WAIT_MS = 5 * SECOND;
/** GitHub publishes no limit for the payload. It takes 65,535 characters of other texts. */
const MOST_CHARACTERS_OF_SERVICES = 60_000;

const createdSchema = z.object({ id: z.number().int() });
const listSchema = z.array(z.object({ id: z.number().int(), payload: z.unknown().optional() }));
const payloadSchema = z.object({ run_id: z.string() });

export function createGitHubDeployments(options: GitHubClientOptions): GitHubDeployments {
  return {
    put: (request) =>
      attempt(
        options,
        (api) => findOrCreate(api, request),
        (answer) => classifyPut(answer, request),
      ),
    setStatus: (request) =>
      attempt(
        options,
        (api) => setStatus(api, request),
        (answer) => classifyStatus(answer, request),
      ),
  };
}

async function attempt<T extends { kind: 'ok' }>(
  options: GitHubClientOptions,
  work: (api: Octokit) => Promise<T | GitHubAnswer>,
  classify: (answer: GitHubAnswer) => Failure,
): Promise<T | Failure> {
  const startedAt = performance.now();
  try {
    const result = await work(await loadOctokit(options));
    return 'kind' in result ? result : classify(result);
  } catch (error) {
    if (isOddAnswer(error)) return classify({ status: 200, headers: {}, message: '' });
    const answer = readAnswer(error, options.token);
    if (answer) return classify(answer);
    return classifySilence(describeSilence(error), performance.now() - startedAt);
  }
}

async function findOrCreate(
  api: Octokit,
  request: DeploymentRequest,
): Promise<Extract<DeploymentOutcome, { kind: 'ok' }> | GitHubAnswer> {
  const { owner, repo, sha: ref, environment, runId: run_id, mayExist, creates } = request;
  const found = mayExist ? await findDeployment(api, request) : null;
  if (found !== null || !creates) return { kind: 'ok', id: found };
  const answer = await api.rest.repos.createDeployment({
    owner,
    repo,
    ref,
    environment,
    task: TASK,
    auto_merge: false,
    required_contexts: [],
    payload: { run_id, ...servicesWithin(request.services) },
  });
  const created = createdSchema.safeParse(answer.data);
  return Number(answer.status) === 201 && created.success
    ? { kind: 'ok', id: created.data.id }
    : { status: answer.status, headers: Headers.parse(answer.headers), message: '' };
}

/** Returns the id of the run's deployment, or null if there is none. */
async function findDeployment(
  api: Octokit,
  { owner, repo, sha, environment, runId }: DeploymentRequest,
): Promise<number | null> {
  const pages = readPages(listSchema, (page) =>
    api.rest.repos.listDeployments({ owner, repo, sha, environment, task: TASK, ...page }),
  );
  for await (const deployments of pages) {
    const ours = deployments.find(({ payload }) => runOf(payload) === runId);
    if (ours) return ours.id;
  }
  return null;
}

/** GitHub's description allows a payload to be an object, or a text of JSON. */
function runOf(payload: unknown): string | null {
  const parsed = payloadSchema.safeParse(typeof payload === 'string' ? parseJson(payload) : payload);
  return parsed.data?.run_id ?? null;
}

/** Returns the first services, as many as fit, and the number of the others. */
function servicesWithin(all: readonly string[]): { services: string[]; services_left_out?: number } {
  let characters = 0;
  const services = all.filter((service) => {
    characters += service.length + 3;
    return characters <= MOST_CHARACTERS_OF_SERVICES;
  });
  const leftOut = all.length - services.length;
  return { services, ...(leftOut > 0 && { services_left_out: leftOut }) };
}

async function setStatus(
  api: Octokit,
  { owner, repo, id, state, description, logUrl, environmentUrl }: DeploymentStatusRequest,
): Promise<{ kind: 'ok' } | GitHubAnswer> {
  const answer = await api.rest.repos.createDeploymentStatus({
    owner,
    repo,
    deployment_id: id,
    state,
    description,
    log_url: logUrl,
    ...(environmentUrl !== null && { environment_url: environmentUrl }),
    auto_inactive: true,
  });
  // An incomplete or foreign body arrives as text. Writing the same status again does no harm.
  const created = z.object({ state: z.literal(state) }).safeParse(answer.data).success;
  return Number(answer.status) === 201 && created
    ? { kind: 'ok' }
    : { status: answer.status, headers: Headers.parse(answer.headers), message: '' };
}

function classifyPut(answer: GitHubAnswer, { owner, repo }: Repository): Failure {
  const failure = classifyAnswer(answer, `${owner}/${repo}`, DEPLOYMENT);
  const said = describeAnswer(answer);
  const target = {
    kind: 'retry',
    scope: 'target',
    afterMs: LEAST_WAIT_MS,
    maxTries: TRIES_TO_CREATE,
  } as const;
  if ((answer.status === 404 || answer.status === 403) && !isLimited(answer)) {
    const problem = `GitHub does not let the token report deployments of ${owner}/${repo} (${said}). Give it write access to deployments, or set "deployments" to false.`;
    return { ...target, maxTries: TRIES_WITHOUT_PERMISSION, problem };
  }
  if (answer.status === 422 && /no ref found/i.test(answer.message)) {
    // A replica of the API may not know a commit that was pushed a moment ago.
    return { ...target, problem: `GitHub does not know the commit (${said}).` };
  }
  if (failure.kind !== 'retry' || failure.scope !== 'target') return failure;
  return { ...failure, ...target, afterMs: Math.max(failure.afterMs, LEAST_WAIT_MS) };
}

function classifyStatus(answer: GitHubAnswer, { owner, repo }: Repository): Failure {
  if (answer.status !== 404) return classifyAnswer(answer, `${owner}/${repo}`, DEPLOYMENT);
  const problem = `GitHub does not know the deployment, or hides it from the token (${describeAnswer(answer)}).`;
  return { kind: 'retry', scope: 'target', afterMs: 2 * SECOND, maxTries: TRIES_OF_STATUS, problem };
}
