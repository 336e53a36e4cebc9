/** Deployments and their statuses as GitHub stores them, with the limits that its description does not contain. */

import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { type ApiAnswer, refusal, type StatusBook } from './github-statuses.ts';

const DEFAULT_PER_PAGE = 30;
const MAX_DESCRIPTION_LENGTH = 140;

interface DeploymentStatus {
  id: number;
  state: 'error' | 'failure' | 'inactive' | 'in_progress' | 'queued' | 'pending' | 'success';
  description: string;
  logUrl: string;
  environmentUrl: string;
}

interface Deployment {
  id: number;
  sha: string;
  task: string;
  environment: string;
  payload: unknown;
  /** Oldest first. */
  statuses: DeploymentStatus[];
}

export interface DeploymentBook {
  /** All deployments, oldest first. */
  all: readonly Deployment[];
  /** The states of each deployment, oldest first. */
  states(): string[][];
  remove(id: number): void;
  /** Returns null for an operation that is not about deployments. */
  answer(operation: string, request: DeploymentRequest): Promise<ApiAnswer> | ApiAnswer | null;
}

interface DeploymentRequest {
  parameters: Record<string, string>;
  query: URLSearchParams;
  body: unknown;
}

const newDeploymentSchema = z.object({
  ref: z.string(),
  task: z.string().default('deploy'),
  auto_merge: z.boolean().default(true),
  required_contexts: z.array(z.string()).nullish(),
  payload: z.unknown().optional(),
  environment: z.string().default('production'),
});
const newStatusSchema = z.object({
  state: z.enum(['error', 'failure', 'inactive', 'in_progress', 'queued', 'pending', 'success']),
  log_url: z.string().default(''),
  description: z.string().default(''),
  environment_url: z.string().default(''),
  auto_inactive: z.boolean().default(true),
});
type NewStatus = z.infer<typeof newStatusSchema>;

export function createDeploymentBook(options: {
  apiUrl: () => string;
  fullName: string;
  statuses: StatusBook;
  /** Receives a description of each mistake of a caller. */
  violations: string[];
}): DeploymentBook {
  const deployments: Deployment[] = [];
  let lastId = 4_000;
  const repositoryUrl = () => `${options.apiUrl()}/repos/${options.fullName}`;
  const find = (id: string | undefined) => deployments.find((one) => String(one.id) === id);

  async function create(body: unknown): Promise<ApiAnswer> {
    const { ref, auto_merge, required_contexts, payload, ...rest } = newDeploymentSchema.parse(body);
    if (!(await options.statuses.exists(ref))) return refusal(422, `No ref found for: ${ref}`);
    // GitHub would merge the default branch into the ref, and wait for all statuses of the commit.
    if (auto_merge || required_contexts?.length !== 0) {
      options.violations.push(`deployments: ${ref} is merged, or waits for statuses`);
      return refusal(409, `Conflict: Commit status checks failed for ${ref}.`);
    }
    await sleep(2);
    lastId += 1;
    const deployment = { id: lastId, sha: ref, payload: payload ?? {}, statuses: [], ...rest };
    deployments.push(deployment);
    return { status: 201, body: show(deployment) };
  }

  function list(query: URLSearchParams): ApiAnswer {
    const wanted = (name: 'sha' | 'task' | 'environment', value: string): boolean =>
      (query.get(name) ?? value) === value;
    const found = deployments
      .filter((one) => wanted('sha', one.sha) && wanted('task', one.task))
      .filter((one) => wanted('environment', one.environment))
      .toReversed();
    const perPage = Number(query.get('per_page') ?? DEFAULT_PER_PAGE);
    const end = Number(query.get('page') ?? 1) * perPage;
    const link = `<${repositoryUrl()}/deployments?page=${end / perPage + 1}>; rel="next"`;
    return {
      status: 200,
      body: found.slice(end - perPage, end).map(show),
      ...(found.length > end ? { headers: { link } } : {}),
    };
  }

  async function createStatus(deployment: Deployment, body: unknown): Promise<ApiAnswer> {
    const wanted = newStatusSchema.parse(body);
    const problem = problemWith(wanted);
    if (problem !== null) {
      options.violations.push(`deployments/${deployment.id}: ${problem}`);
      const error = { resource: 'DeploymentStatus', code: 'custom', message: problem };
      return refusal(422, 'Validation Failed', [error]);
    }
    await sleep(2);
    const status = add(deployment, wanted);
    if (wanted.state === 'success' && wanted.auto_inactive) deactivateBefore(deployment);
    return { status: 201, body: showStatus(deployment, status) };
  }

  function add(deployment: Deployment, wanted: NewStatus): DeploymentStatus {
    const { state, description, log_url: logUrl, environment_url: environmentUrl } = wanted;
    lastId += 1;
    const status = { id: lastId, state, description, logUrl, environmentUrl };
    deployment.statuses.push(status);
    return status;
  }

  /** https://docs.github.com/en/rest/deployments/statuses#create-a-deployment-status, `auto_inactive` */
  function deactivateBefore({ id, environment }: Deployment): void {
    for (const prior of deployments) {
      const isActive = prior.statuses.at(-1)?.state === 'success' && prior.id < id;
      if (isActive && prior.environment === environment && environment !== 'production')
        add(prior, newStatusSchema.parse({ state: 'inactive' }));
    }
  }

  function show({ id, sha, task, environment, payload }: Deployment): Record<string, unknown> {
    const url = `${repositoryUrl()}/deployments/${id}`;
    return {
      ...shared(id, url),
      sha,
      ref: sha,
      task,
      payload,
      original_environment: environment,
      environment,
      description: null,
      statuses_url: `${url}/statuses`,
    };
  }

  function showStatus({ id, environment }: Deployment, status: DeploymentStatus): Record<string, unknown> {
    const deployment_url = `${repositoryUrl()}/deployments/${id}`;
    const { state, description, logUrl, environmentUrl } = status;
    return {
      ...shared(status.id, `${deployment_url}/statuses/${status.id}`),
      state,
      description,
      environment,
      target_url: logUrl,
      log_url: logUrl,
      ...(environmentUrl === '' ? {} : { environment_url: environmentUrl }),
      deployment_url,
    };
  }

  function shared(id: number, url: string): Record<string, unknown> {
    const time = '2026-03-02T09:33:47Z';
    const dates = { created_at: time, updated_at: time };
    return { id, node_id: `DE_${id}`, url, creator: null, repository_url: repositoryUrl(), ...dates };
  }

  return {
    all: deployments,
    states: () => deployments.map(({ statuses }) => statuses.map(({ state }) => state)),
    remove: (id) => void deployments.splice(deployments.findIndex((one) => one.id === id) >>> 0, 1),
    answer(operation, { parameters, query, body }) {
      if (operation === 'repos/create-deployment') return create(body);
      if (operation === 'repos/list-deployments') return list(query);
      if (operation !== 'repos/create-deployment-status') return null;
      const deployment = find(parameters.deployment_id);
      return deployment ? createStatus(deployment, body) : refusal(404, 'Not Found');
    },
  };
}

function problemWith({ description, log_url, environment_url }: NewStatus): string | null {
  if ([...description].length > MAX_DESCRIPTION_LENGTH) {
    return `description is too long (maximum is ${MAX_DESCRIPTION_LENGTH} characters)`;
  }
  const isOdd = [log_url, environment_url].some((url) => url !== '' && !/^https?:\/\//.test(url));
  return isOdd ? 'log_url and environment_url must use http(s) scheme' : null;
}
