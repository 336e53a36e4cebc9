/** Checks every field of the request for a plan that a Pub/Sub message carries. Pure. */

import { z } from 'zod';
import type { PlanInput } from '../../runs/plan-comment.ts';
import { checkRemoteUrl } from '../../runs/texts/remote-url.ts';
import { normalizeDirectory } from '../../runs/texts/root-directory.ts';

export interface PlanRequestRules {
  /** Schemes that `clone_url` may have. */
  protocols: readonly string[];
  /** The only hosts that the token is sent to: host or host:port. */
  allowedHosts: readonly string[];
  /** Our own API address, which alone may be plain http although `protocols` does not list it. */
  apiUrl: string;
}

export type ParsedPlanRequest =
  | { ok: true; input: PlanInput; token: string }
  | { ok: false; problem: string };

/** Problems are logged and shown, so they never repeat the text of the sender. */
function form(pattern: RegExp, expected: string) {
  return z.string(`expected ${expected}`).regex(pattern, `expected ${expected}`);
}

const FULL_NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,99}\/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}$/;
const REF = z.string().max(300).nullish();
const NUMBER = 'expected a whole number above 0';

const planRequestSchema = z.object({
  request_id: z.string().max(200).nullish().catch(null),
  repo: z.object({ full_name: form(FULL_NAME, 'owner/name'), clone_url: z.string('expected a URL') }),
  pull_request: z.object({
    number: z.number(NUMBER).int(NUMBER).positive(NUMBER),
    head_sha: form(/^[0-9a-f]{40}$/, 'the 40 hexadecimal digits of a commit'),
    head_ref: REF,
    base_ref: REF,
  }),
  installation: z.object({ token: form(/^[\x21-\x7e]{1,4096}$/, 'a token') }),
  work: z.object({
    dir: z
      .string('expected a folder')
      .default('.')
      .transform(normalizeDirectory)
      .refine((directory) => directory !== null, 'expected a folder inside the repository')
      .transform((directory) => directory ?? '.'),
    tofu_version: z
      .union(
        [z.literal(''), form(/^v?[0-9][0-9A-Za-z.+-]{0,63}$/, 'a version such as 1.8.0')],
        'expected a version',
      )
      .nullish()
      .transform((version) => version?.replace(/^v/, '') || null),
    // The id is written into an HTML comment, which "--" could end.
    plan_id: form(/^(?!.*--)[A-Za-z0-9._:/-]{1,128}$/, 'an id of letters, digits and . _ : / -'),
  }),
  github_api_base_url: z.string('expected a URL').default('https://api.github.com'),
});

export function parsePlanRequest(value: unknown, rules: PlanRequestRules): ParsedPlanRequest {
  const parsed = planRequestSchema.safeParse(value);
  if (!parsed.success) {
    const problems = parsed.error.issues.map(
      ({ path, message }) => `${path.join('.') || 'data'}: ${message}`,
    );
    return { ok: false, problem: problems.slice(0, 5).join('; ') };
  }
  const { data } = parsed;
  const clone = checkRemoteUrl(data.repo.clone_url, {
    protocols: rules.protocols.filter((name) => name === 'https' || name === 'http'),
    hosts: rules.allowedHosts,
    what: 'repo.clone_url',
  });
  if (!clone.ok) return clone;
  const api = checkRemoteUrl(data.github_api_base_url, {
    protocols: isOrigin(data.github_api_base_url, rules.apiUrl) ? ['https', 'http'] : ['https'],
    hosts: rules.allowedHosts,
    what: 'github_api_base_url',
  });
  if (!api.ok) return api;
  const { work, pull_request: pull } = data;
  return {
    ok: true,
    token: data.installation.token,
    input: {
      repository: data.repo.full_name,
      pullRequest: pull.number,
      revision: pull.head_sha,
      headRef: pull.head_ref ?? null,
      baseRef: pull.base_ref ?? null,
      cloneUrl: clone.url,
      apiUrl: api.url.replace(/\/+$/, ''),
      planId: work.plan_id,
      roots: [{ directory: work.dir, tool: 'tofu', toolVersion: work.tofu_version }],
      fromFork: false,
      credential: 'sealed',
      requestId: data.request_id ?? null,
    },
  };
}

function isOrigin(text: string, apiUrl: string): boolean {
  return URL.parse(text)?.origin === new URL(apiUrl).origin;
}
