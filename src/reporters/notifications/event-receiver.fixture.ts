/** For tests: a receiver of events that misbehaves by script, and deployments in a real store that send it events. */

import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { DeployInput, PlanSummary } from '../../runs/deployments/deployment.ts';
import { enqueueRun } from '../../runs/enqueue.ts';
import type { FinalRunState } from '../../runs/run.ts';
import type { RunEventBody } from '../../runs/run-events.ts';
import type { Lease, RunStore } from '../../runs/run-store.ts';
import { createSqliteStore } from '../../stores/sqlite/sqlite-store.ts';

interface SeenEvent {
  at: number;
  headers: IncomingHttpHeaders;
  text: string;
  body: { type: string; timestamp: string; data: Record<string, unknown> };
}

export interface EventReceiver {
  url: string;
  host: string;
  /** Used one by one. After the last one every event is taken with 204. */
  script: ((response: ServerResponse) => void)[];
  /** If it is set, the answer to every request that the script does not cover. */
  always: ((response: ServerResponse) => void) | null;
  seen: SeenEvent[];
  types(): string[];
  connections: number;
  /** The clock of `at`. */
  clock(): number;
  close(): Promise<void>;
}

export function answer(
  status: number,
  headers: Record<string, string> = {},
): (response: ServerResponse) => void {
  return (response) => void response.writeHead(status, headers).end();
}

export async function startEventReceiver(): Promise<EventReceiver> {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    receiver.seen.push({ at: receiver.clock(), headers: request.headers, text, body: JSON.parse(text) });
    (receiver.script.shift() ?? receiver.always ?? answer(204))(response);
  });
  server.on('connection', () => {
    receiver.connections += 1;
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const receiver: EventReceiver = {
    url: `http://${host}/hook?key=s3cret`,
    host,
    script: [],
    always: null,
    seen: [],
    types: () => receiver.seen.map(({ body }) => body.type),
    connections: 0,
    clock: Date.now,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return receiver;
}

export const SUMMARY: PlanSummary = {
  add: 1,
  change: 0,
  destroy: 0,
  replace: 0,
  resources: [{ address: 'terraform_data.a', action: 'create' }],
  omitted: 0,
  outputs: [],
};

export interface Deployments {
  store: RunStore;
  /** The directory of the store. */
  directory: string;
  /** Stores a deployment and returns its id. */
  deploy(input?: Partial<DeployInput>): Promise<string>;
  /** Lets a worker take the next deployment. */
  begin(): Promise<Lease>;
  plan(lease: Lease, summary?: PlanSummary | null): Promise<void>;
  awaitApproval(lease: Lease): Promise<void>;
  finish(lease: Lease, state?: FinalRunState, message?: string): Promise<void>;
  close(): Promise<void>;
}

export async function createDeployments(): Promise<Deployments> {
  const directory = mkdtempSync(path.join(tmpdir(), 'iac-events-'));
  const store = await createSqliteStore({ directory });
  return {
    store,
    directory,
    async deploy(input = {}) {
      const { run } = await enqueueRun(store, 'deploy', {
        trigger: { source: 'deploy_api', actor: 'ada' },
        priority: 0,
        labels: [],
        sealed: 'v1.sealed-environment',
        input: {
          operation: 'apply',
          tool: 'tofu',
          toolVersion: null,
          gitUrl: 'https://git.example.com/infra.git',
          gitRef: 'main',
          path: `root-${Math.random()}`,
          tfvarsFiles: [],
          timeoutMs: 60_000,
          autoApprove: false,
          callbackUrl: null,
          ...input,
        },
      });
      return run.id;
    },
    async begin() {
      const claim = await store.claim({ owner: 'w', leaseMs: 60_000 });
      if (!claim) throw new Error('There is nothing to begin.');
      return claim.lease;
    },
    plan: (lease, summary = SUMMARY) =>
      store.append(lease, [
        { type: 'run.revision', revision: 'c'.repeat(40), subject: 'Add a' },
        ...stepEvents('clone', 0),
        ...stepEvents('plan', 1),
        { type: 'run.planned', step: 'plan', summary, text: 'value = "hunter2"' },
      ]),
    awaitApproval: (lease) =>
      store.append(lease, [
        { type: 'run.awaiting_approval', subject: 'd1', expiresAt: Date.now() + 60_000, message: 'Waiting' },
      ]),
    finish: (lease, state = 'succeeded', message = 'Applied') =>
      store.append(lease, [{ type: 'run.finished', state, reason: null, message, coveredBy: null }]),
    async close() {
      await store.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function stepEvents(step: string, position: number): RunEventBody[] {
  return [
    { type: 'step.planned', step, position, wave: position, message: '' },
    { type: 'step.started', step, command: [step], ledger: null },
    { type: 'step.finished', step, state: 'succeeded', message: '', exitCode: 0, ledger: null },
  ];
}
