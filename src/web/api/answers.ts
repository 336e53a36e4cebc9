/** The JSON that pages answer with, as schemas. A test holds every answer of a server to them. */

import { z } from 'zod';
import { DELIVERY_DECISIONS } from '../../runs/delivery.ts';
import { RUN_KINDS } from '../../runs/kinds/kinds.ts';
import { RUN_STATES } from '../../runs/run.ts';

const text = z.string();
const nullable = text.nullable();
const time = z.iso.datetime();
const maybeTime = time.nullable();
const names = z.array(text);
const count = z.int().min(0);

export const errorAnswer = z.strictObject({
  error: text.describe('A sentence for people'),
  code: text
    .optional()
    .describe('For programs; left out by /webhook and /sync, whose earlier clients know `error` only'),
});

export const acceptedRun = z.strictObject({ status: z.literal('accepted'), run_id: text, url: text });
export const acceptedSync = acceptedRun.extend({ services: names });

const times = { started_at: maybeTime, finished_at: maybeTime, duration_ms: count.nullable() };

/** Kinds have members of their own, so more are allowed here. */
export const run = z.looseObject({
  run_id: text,
  kind: z.enum(RUN_KINDS),
  state: z.enum(RUN_STATES),
  reason: nullable,
  next_action: nullable,
  message: text,
  branch: nullable,
  revision: nullable,
  requested_revision: nullable,
  subject: nullable,
  trigger: z.strictObject({ source: text, actor: nullable, delivery_id: nullable, retry_of: nullable }),
  pull_request: z.int().nullable(),
  force: z.boolean(),
  dry_run: z.boolean(),
  cancel_requested_by: nullable,
  covered_by: nullable,
  attempt: count,
  created_at: time,
  ...times,
  url: text,
});

const step = z.strictObject({
  id: text,
  state: text,
  message: text,
  exit_code: z.int().nullable(),
  wave: z.int(),
  ...times,
});

const explanation = z.strictObject({
  revision: text,
  notes: names,
  services: z.array(
    z.strictObject({
      service: text,
      folder: text,
      wave: z.int(),
      decision: text,
      because: text,
      paths: names,
    }),
  ),
  unmatched: names,
});

export const runDetails = run.extend({
  steps: z.array(step),
  why: explanation.nullable(),
  undelivered: z.array(
    z.strictObject({ reporter: text, target: text, problem: nullable, given_up: z.boolean() }),
  ),
});

export const runList = z.strictObject({ runs: z.array(run), next: nullable });

export const logLines = z.strictObject({
  step: nullable,
  from: count,
  total: count,
  lines: z.array(z.strictObject({ number: count, at: time, text })),
});

export const delivery = z.strictObject({
  number: count,
  received_at: time,
  event: text,
  decision: z.enum(DELIVERY_DECISIONS),
  detail: text,
  delivery_id: nullable,
  run_id: nullable,
  url: nullable,
  replayable: z.boolean(),
});
export const deliveryList = z.strictObject({ deliveries: z.array(delivery), next: nullable });

export const sessions = z.strictObject({
  sessions: z.array(
    z.strictObject({
      ...{ id: text, name: text, role: text, method: z.enum(['token', 'oidc']), address: text },
      ...{ user_agent: text, created_at: text, ends_at: text },
      current: z.boolean(),
    }),
  ),
});
export const endedSession = z.strictObject({ status: z.literal('ended') });
export const audit = z.strictObject({
  entries: z.array(
    z.strictObject({
      at: time,
      actor: text,
      role: text,
      action: text,
      target: text,
      address: text,
      result: nullable,
    }),
  ),
  next: nullable,
});

const proven = z.strictObject({ service: text, because: text });

export const proposal = z.strictObject({
  environment: text,
  repository: text,
  revision: text,
  subject: text,
  from: text,
  services: z.array(z.strictObject({ service: text, from: nullable })),
  not_held: z.array(proven),
  commits: z.array(z.strictObject({ id: text, subject: text })),
  more_commits: z.boolean(),
  pinned: names,
  newer: nullable,
});

export const startedPromotion = z.strictObject({
  status: z.enum(['accepted', 'awaiting_approval']),
  run_id: text,
  url: text,
  environment: text.optional(),
  revision: text,
  services: names,
});

export const health = z.strictObject({ status: z.enum(['healthy', 'unhealthy']) });
export const readiness = z.strictObject({
  status: z.enum(['ready', 'degraded', 'not_ready']),
  checks: z.record(
    text,
    z.strictObject({
      status: z.enum(['ok', 'degraded', 'failed']),
      problem: text.optional(),
      note: text.optional(),
    }),
  ),
});

export const workers = z.looseObject({ queued: count, running: count, workers: z.array(z.looseObject({})) });
export const deployments = z.strictObject({ deployments: z.array(z.looseObject({})), next: nullable });
export const deploymentStatus = z.looseObject({ deployment_id: text, status: text });
export const startedDeployment = z.strictObject({ deployment_id: text, status: text, message: text });
export const done = z.strictObject({ message: text });
