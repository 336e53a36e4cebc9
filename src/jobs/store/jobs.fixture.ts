/** For tests: a producer of jobs that writes the same keys as the web application. */

import { createCipheriv, randomBytes, randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';

export const ENCRYPTION_KEY = '0123456789abcdef'.repeat(4);

export interface ProducedJob {
  id: string;
  entry: string;
}

export interface JobFields {
  id?: string;
  userId?: string;
  providerId?: string;
  repositoryUrl?: string;
  branch?: string;
  prompt?: string;
  /** Replaces fields of the hash. Undefined leaves a field out. */
  hash?: Record<string, string | undefined>;
  /** Replaces fields of the entry in the same way. */
  entry?: Record<string, string | undefined>;
  /** When the entry was added, in milliseconds since the epoch; later than all entries before it. Default: now. */
  addedAt?: number;
}

/** Encrypts a token as the web application does. */
export function sealToken(token: string): string {
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', Buffer.from(ENCRYPTION_KEY, 'hex'), iv);
  const content = Buffer.concat([cipher.update(token, 'utf8'), cipher.final()]);
  return [iv, cipher.getAuthTag(), content].map((part) => part.toString('base64')).join(':');
}

/** Writes the hash, then the entry. */
export async function produce(redis: Redis, fields: JobFields = {}): Promise<ProducedJob> {
  const { id = randomUUID(), userId = 'ada', providerId = 'p1', prompt = 'Do it', branch = '' } = fields;
  const { repositoryUrl = 'https://github.com/acme/app.git' } = fields;
  const hash = {
    id,
    user_id: userId,
    provider_id: providerId,
    repo_url: repositoryUrl,
    repo_name: 'acme/app',
    branch,
    prompt,
    environment: 'default',
    status: 'pending',
    lines_added: '0',
    lines_removed: '0',
    created_at: String(Date.now()),
    ...fields.hash,
  };
  await redis.hset(`job:${id}`, given(hash));
  const entry = {
    job_id: id,
    user_id: userId,
    provider_id: providerId,
    repo_url: repositoryUrl,
    prompt,
    environment: 'default',
    ...fields.entry,
  };
  return { id, entry: await addEntry(redis, given(entry), fields.addedAt) };
}

export async function addEntry(
  redis: Redis,
  fields: Record<string, string>,
  addedAt?: number,
): Promise<string> {
  const entryId = addedAt === undefined ? '*' : `${addedAt}-0`;
  return (await redis.xadd('jobs:stream', entryId, ...Object.entries(fields).flat())) ?? '';
}

function given(fields: Record<string, string | undefined>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(fields).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}
