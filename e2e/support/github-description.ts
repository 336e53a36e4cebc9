/**
 * GitHub's published OpenAPI description, cut down to the operations that the local GitHub plays. The whole document has
 * 13 MB and takes seconds of each test file, so the cut one is kept for all of them.
 */

import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { z } from 'zod';
import { PROJECT_ROOT } from './project-root.ts';

const documentSchema = z.object({
  paths: z.record(z.string(), z.record(z.string(), z.unknown())),
  components: z.record(z.string(), z.record(z.string(), z.unknown())),
});
export type Description = z.infer<typeof documentSchema>;

/** All other operations keep only their names. */
const PLAYED = [
  ...['issues/create-comment', 'issues/list-comments', 'issues/update-comment'],
  ...['pulls/get', 'pulls/list-reviews'],
  ...['repos/create-commit-status', 'repos/get', 'repos/get-collaborator-permission-level'],
  ...['repos/create-deployment', 'repos/create-deployment-status', 'repos/list-deployments'],
  ...['repos/get-combined-status-for-ref', 'repos/list-commit-statuses-for-ref'],
  ...['repos/list-webhook-deliveries', 'repos/list-webhooks'],
  ...['users/get-authenticated'],
];

const resolve = createRequire(import.meta.url).resolve;
const PUBLISHED = resolve('@octokit/openapi/generated/api.github.com.json');
const CACHE = join(PROJECT_ROOT, 'node_modules/.cache/github-description');

export function readDescription(): Description {
  const kept = join(CACHE, `${keyOfThis()}.json`);
  try {
    return documentSchema.parse(JSON.parse(readFileSync(kept, 'utf8')));
  } catch {
    const text = JSON.stringify(cut(documentSchema.parse(JSON.parse(readFileSync(PUBLISHED, 'utf8')))));
    mkdirSync(CACHE, { recursive: true });
    // Other test files may be about to do the same.
    const fresh = `${kept}.${randomUUID()}`;
    writeFileSync(fresh, text);
    renameSync(fresh, kept);
    return documentSchema.parse(JSON.parse(text));
  }
}

/** Another version of the package, or a change of this file, gives another key. */
function keyOfThis(): string {
  const hash = createHash('sha256');
  for (const file of [import.meta.filename, resolve('@octokit/openapi/package.json')])
    hash.update(readFileSync(file));
  return hash.digest('hex').slice(0, 16);
}

function cut({ paths, components }: Description): Description {
  const kept = Object.fromEntries(Object.entries(paths).map(([path, item]) => [path, cutPath(item)]));
  const used: Description['components'] = {};
  const waiting: unknown[] = [kept];
  while (waiting.length > 0) {
    for (const [kind, name] of referencesIn(waiting.pop())) {
      if (used[kind]?.[name] !== undefined) continue;
      const component = components[kind]?.[name];
      used[kind] = { ...used[kind], [name]: component };
      waiting.push(component);
    }
  }
  return { paths: kept, components: used };
}

function cutPath(item: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(item).map(([method, operation]) => {
      const found = z.object({ operationId: z.string() }).safeParse(operation);
      return [method, found.success && !PLAYED.includes(found.data.operationId) ? found.data : operation];
    }),
  );
}

/** Lists the kind and the name of each component that the value refers to. */
function referencesIn(value: unknown): [kind: string, name: string][] {
  const found = JSON.stringify(value).matchAll(/"\$ref":"#\/components\/([^/"]+)\/([^/"]+)"/g);
  return [...found].map(([, kind = '', name = '']) => [kind, name]);
}
