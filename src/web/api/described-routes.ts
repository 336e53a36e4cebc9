/** Every address of the server, what it needs and what it answers. The description at /openapi.json is made from this. */

import * as answers from './answers.ts';
import type { DescribedRoute, Row } from './described-route.ts';
import * as places from './place-answers.ts';
import { SIGN_IN } from './sign-in.ts';

const STREAM = 'text/event-stream';
const PLAIN = 'text/plain';
const PLACE = ['environment', 'repository'] as const;

const TABLE: readonly Row[] = [
  ['post /webhook', 'signed', 'Takes a delivery of GitHub.', { 200: 'application/json' }],
  [
    'post /sync',
    'operator',
    'Syncs services; also with a signature over the body.',
    { 200: answers.acceptedSync },
    {
      body: ['services', 'all', 'force', 'dry_run', 'unpin', 'revision', ...PLACE],
    },
  ],
  [
    'post /pubsub/push',
    'signed',
    'Takes a message of Pub/Sub, with a token of Google.',
    {
      204: null,
    },
  ],
  [
    'get /health',
    'none',
    'Says whether the process is alive.',
    {
      200: answers.health,
      503: answers.health,
    },
  ],
  [
    'get /ready',
    'none',
    'Says whether everything that the work needs is there.',
    {
      200: answers.readiness,
      503: answers.readiness,
    },
  ],
  ['get /openapi.json', 'none', 'This description.', { 200: 'application/json' }],
  ['get /', 'viewer', 'The overview.', { 200: places.environmentList }],
  [
    'get /environments',
    'viewer',
    'Every environment, with the number of services in each state.',
    {
      200: places.environmentList,
    },
  ],
  [
    'get /environments/{name}',
    'viewer',
    'One environment, with its services.',
    { 200: places.environment },
    { query: ['repository'] },
  ],
  ['get /changes', 'viewer', 'Says that something has changed.', { 200: STREAM }],
  [
    'get /services',
    'viewer',
    'Every service, with its last sync.',
    { 200: places.serviceList },
    { query: PLACE },
  ],
  [
    'get /services/{id}',
    'viewer',
    'One service: where it stands, and its history.',
    { 200: places.service },
    { query: PLACE },
  ],
  [
    'post /services/{id}/rollback',
    'operator',
    'Takes a service back to an earlier commit, and keeps it there.',
    { 200: answers.acceptedSync },
    {
      body: ['to', 'reason', 'force', 'override_hold', ...PLACE],
    },
  ],
  [
    'post /services/{id}/unpin',
    'operator',
    'Ends a rollback.',
    { 200: answers.acceptedSync },
    { body: PLACE },
  ],
  [
    'get /runs',
    'viewer',
    'The runs, the newest first.',
    { 200: answers.runList },
    { query: ['kind', 'state', 'service', 'environment', 'branch', 'q', 'before'] },
  ],
  ['get /runs/{id}', 'link', 'One run with its steps.', { 200: answers.runDetails }, { query: ['format'] }],
  [
    'get /runs/{id}/log',
    'link',
    'Lines of a log by their numbers, or the log as text.',
    { 200: answers.logLines },
    {
      query: ['step', 'from', 'lines', 'search', 'errors', 'spans'],
    },
  ],
  ['get /runs/{id}/log.txt', 'link', 'The log without colours.', { 200: PLAIN }, { query: ['step'] }],
  ['get /runs/{id}/plan', 'link', 'The plan of a deployment.', { 200: PLAIN }, { query: ['step'] }],
  ['get /runs/{id}/events', 'link', 'The events of a run.', { 200: STREAM }, { query: ['after', 'log'] }],
  [
    'post /runs/{id}/retry',
    'operator',
    'Runs again what did not succeed.',
    {
      200: answers.acceptedRun,
    },
  ],
  ['post /runs/{id}/cancel', 'operator', 'Cancels a run.', { 200: answers.acceptedRun }],
  [
    'post /runs/{id}/approve',
    'viewer',
    'Approves what a run waits to do.',
    {
      200: answers.acceptedRun,
    },
  ],
  [
    'post /runs/{id}/reject',
    'viewer',
    'Rejects what a run waits to do.',
    {
      200: answers.acceptedRun,
    },
  ],
  ['get /holds', 'viewer', 'The holds that stand.', { 200: places.holdList }],
  [
    'post /holds',
    'operator',
    'Sets a hold.',
    { 201: places.hold },
    { body: ['reason', 'services', 'until', ...PLACE] },
  ],
  ['get /holds/{id}', 'viewer', 'One hold.', { 200: places.hold }],
  ['delete /holds/{id}', 'operator', 'Releases a hold.', { 204: null }],
  ['post /holds/{id}/release', 'operator', 'Releases a hold, for forms.', { 204: null }],
  [
    'get /promote',
    'viewer',
    'What a promotion would change.',
    { 200: answers.proposal },
    { query: ['revision', 'service', ...PLACE] },
  ],
  [
    'post /promote',
    'operator',
    'Asks for a promotion.',
    { 202: answers.startedPromotion },
    {
      body: ['revision', 'services', 'reason', 'break_glass', ...PLACE],
    },
  ],
  [
    'get /deliveries',
    'viewer',
    'The deliveries, the newest first.',
    { 200: answers.deliveryList },
    { query: ['decision', 'before'] },
  ],
  ['get /deliveries/{number}', 'viewer', 'One delivery.', { 200: answers.delivery }],
  [
    'post /deliveries/{number}/replay',
    'operator',
    'Takes a delivery once more.',
    {
      200: answers.acceptedRun,
    },
  ],
  [
    'get /audit',
    'admin',
    'What people did.',
    { 200: answers.audit },
    { query: ['actor', 'action', 'target', 'before', 'format'] },
  ],
  ['get /workers', 'viewer', 'The machines that work, and the queue.', { 200: answers.workers }],
  ['get /metrics', 'viewer', 'Metrics for Prometheus.', { 200: PLAIN }],
  ['get /jobs/{id}/stream', 'viewer', 'The output of a job.', { 200: STREAM }],
  [
    'get /deploy',
    'viewer',
    'The deployments, the newest first.',
    { 200: answers.deployments },
    { query: ['git_url', 'path', 'before', 'limit'] },
  ],
  ['post /deploy', 'operator', 'Starts a deployment.', { 202: answers.startedDeployment }],
  [
    'get /deploy/{id}/status',
    'link',
    'The state of a deployment.',
    {
      200: answers.deploymentStatus,
    },
  ],
  ['get /deploy/{id}/logs', 'link', 'The output of a deployment.', { 200: STREAM }],
  ['post /deploy/{id}/approve', 'admin', 'Approves a deployment.', { 200: answers.done }],
  ['post /deploy/{id}/reject', 'admin', 'Rejects a deployment.', { 200: answers.done }],
  ['post /deploy/{id}/cancel', 'operator', 'Cancels a deployment.', { 200: answers.done }],
  ...SIGN_IN,
];

export const ROUTES: readonly DescribedRoute[] = TABLE.map(([operation, needs, summary, answered, more]) => {
  const [method, path] = operation.split(' ') as [DescribedRoute['method'], string];
  return { method, path, needs, summary, answers: answered, ...more };
});
