/** The platform repository: where it is, and which one it is on GitHub. */

import { httpUrl, optionalText, text } from './shapes.ts';
import { type ValuesOf, variable } from './variable.ts';

export const GIT_VARIABLES = {
  GIT_REPO_URL: variable({
    schema: text
      .min(1)
      .refine((value) => !value.startsWith('-') && !/^\s*[a-z0-9+.-]*::/i.test(value) && !/\s/.test(value)),
    expected: 'the URL of the platform repository (https, ssh, or a local path; no `transport::address`)',
    example: 'https://github.com/acme/platform.git',
    description: 'The platform repository. Credentials in it are used for git only and never shown.',
    default: '(required)',
    secret: 'in_url',
  }),
  GIT_BRANCH: variable({
    schema: text.regex(/^(?![-/.])(?!.*(\.\.|\/\/|@\{|\.lock$|\/$))[^\s~^:?*[\\\p{Cc}]+$/u),
    expected: 'the name of a branch',
    example: 'main',
    description: 'The branch that is deployed.',
    default: 'main',
  }),
  GITHUB_TOKEN: variable({
    schema: optionalText,
    expected: 'a GitHub token',
    example: 'a fine-grained token with read access to contents and write access to commit statuses',
    description:
      'Reads the repository over https and writes commit statuses. Without it there are no statuses.',
    default: '(none)',
    secret: 'all',
  }),
  GITHUB_REPOSITORY: variable({
    schema: text
      .regex(/^[A-Za-z0-9-]+\/[A-Za-z0-9._-]+$/)
      .optional()
      .transform((value) => value ?? null),
    expected: 'owner/name',
    example: 'acme/platform',
    description: 'The repository on GitHub; pushes of any other are ignored.',
    default: '(from GIT_REPO_URL)',
  }),
  GITHUB_API_URL: variable({
    schema: httpUrl,
    expected: 'an http(s) URL',
    example: 'https://github.example.com/api/v3',
    description: 'The API of GitHub, or of a GitHub Enterprise Server.',
    default: 'https://api.github.com',
  }),
} as const;

export interface GitConfig {
  git: { url: string; branch: string; token: string | null };
  /** Null when the repository is not on GitHub as far as we know: then there are no statuses. */
  github: { owner: string; repo: string; apiUrl: string; token: string } | null;
  /** `owner/name` that pushes must come from, or null to accept any. */
  repository: string | null;
  githubApiUrl: string;
}

export function gitConfig(values: ValuesOf<typeof GIT_VARIABLES>): GitConfig {
  const repository = values.GITHUB_REPOSITORY ?? repositoryOf(values.GIT_REPO_URL, values.GITHUB_API_URL);
  const [owner, repo] = repository?.split('/') ?? [];
  const token = values.GITHUB_TOKEN;
  return {
    git: { url: values.GIT_REPO_URL, branch: values.GIT_BRANCH, token },
    github: owner && repo && token ? { owner, repo, apiUrl: values.GITHUB_API_URL, token } : null,
    repository,
    githubApiUrl: values.GITHUB_API_URL,
  };
}

/** `owner/name` of a repository on github.com or on the Enterprise Server behind the API address, else null. */
function repositoryOf(url: string, apiUrl: string): string | null {
  const apiHost = new URL(apiUrl).hostname;
  const hosts = new Set([apiHost === 'api.github.com' ? 'github.com' : apiHost]);
  const scp = /^(?:[^@/]+@)?([^:/]+):(?!\/\/)\/?(.+)$/.exec(url);
  const [host, location] =
    URL.canParse(url) && !scp ? [new URL(url).hostname, new URL(url).pathname] : [scp?.[1], scp?.[2]];
  const name = location?.replace(/^\/+|\/+$/g, '').replace(/\.git$/, '');
  return host && hosts.has(host) && name && /^[A-Za-z0-9-]+\/[A-Za-z0-9._-]+$/.test(name) ? name : null;
}
