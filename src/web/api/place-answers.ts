/** The JSON about places, their services and holds, as schemas. */

import { z } from 'zod';
import { SERVICE_STATES } from '../../runs/sync/standing.ts';
import { run } from './answers.ts';

const text = z.string();
const nullable = text.nullable();
const time = z.iso.datetime();
const maybeTime = time.nullable();
const names = z.array(text);
const count = z.int().min(0);

export const hold = z.strictObject({
  id: text,
  reason: text,
  by: text,
  repository: nullable,
  environment: nullable,
  services: names.nullable(),
  created_at: time,
  until: maybeTime,
});
export const holdList = z.strictObject({ holds: z.array(hold) });

const standing = {
  id: text,
  state: z.enum(SERVICE_STATES),
  commit: nullable,
  behind_by: count.nullable(),
  last_run: nullable,
  last_run_url: nullable,
  message: text,
  folder: text,
  wave: z.int(),
  synced_at: maybeTime,
  pinned_to: nullable,
  hold: hold.nullable(),
};

const place = {
  name: text,
  repository: text,
  follows: text,
  head: nullable,
  head_subject: nullable,
  problem: nullable,
  remarks: names,
  holds: z.array(hold),
  running: run.nullable(),
};

export const environmentList = z.strictObject({
  environments: z.array(z.strictObject({ ...place, services: z.record(z.enum(SERVICE_STATES), count) })),
});
export const environment = z.strictObject({ ...place, services: z.array(z.strictObject(standing)) });

const named = z.strictObject({ environment: text, repository: text });

export const service = z.strictObject({
  ...standing,
  environment: text,
  repository: text,
  head: nullable,
  needs: names,
  needed_by: names,
  pins: names,
  history: z.array(
    z.strictObject({
      run_id: text,
      url: text,
      commit: nullable,
      subject: nullable,
      outcome: text,
      actor: nullable,
      started_at: maybeTime,
      duration_ms: count.nullable(),
    }),
  ),
  environments: z
    .array(named)
    .optional()
    .describe('If several have the service: all of them, the shown one first'),
});

export const serviceList = z.strictObject({
  services: z.array(
    z.strictObject({
      service: text,
      folder: nullable,
      outcome: z.enum(['started', 'succeeded', 'failed', 'cancelled', 'removed', 'never_synced']),
      synced: z
        .strictObject({ commit: text, at: time, config_hash: nullable, run_id: text, url: text })
        .nullable(),
      attempted: z.strictObject({ commit: text, at: maybeTime, run_id: text, url: text }).nullable(),
      attempts: count,
      pinned_to: nullable,
      hold: hold.nullable(),
      drifted: z.boolean(),
      dokploy: z
        .strictObject({
          config_hash: nullable,
          since: maybeTime,
          to_be_written: z.boolean(),
          problem: nullable,
        })
        .nullable(),
      environment: text,
      repository: text,
    }),
  ),
});
