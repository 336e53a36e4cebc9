/** The platform repository: its address, its branch, and its name on GitHub. */

import { anyText, httpUrl, matching, text } from '../shapes.ts';
import { type ValuesOf, variable } from '../variable.ts';

const OWNER_AND_NAME = /^[A-Za-z0-9-]+\/[A-Za-z0-9._-]+$/;

const urlShape = {
  schema: text.refine(
    (value) => !value.startsWith('-') && !/^\s*[a-z0-9+.-]*::/i.test(value) && !/\s/.test(value),
  ),
  expected: 'the URL of the platform repository (https, ssh, or a local path; no `transport::address`)',
};
const branchShape = matching(
  /^(?![-/.])(?!.*(\.\.|\/\/|@\{|\.lock$|\/$))[^\s~^:?*[\\\p{Cc}]+$/u,
  'the name of a branch',
);

export const GIT = {
  url: variable('GIT_REPO_URL', urlShape, {
    example: 'https://github.com/acme/platform.git',
    description: 'The platform repository. Credentials in it are used for git only and never shown.',
    secret: 'in_url',
  }),
  branch: variable('GIT_BRANCH', branchShape, {
    default: 'main',
    description: 'The branch that is deployed.',
    recommended: true,
  }),
  token: variable('GITHUB_TOKEN', anyText('a GitHub token'), {
    unset: 'none',
    example: 'a fine-grained token with read access to contents and write access to commit statuses',
    description:
      'A token that reads the repository over https and writes commit statuses. Without it there are no statuses.',
    secret: 'all',
    recommended: true,
  }),
  repository: variable('GITHUB_REPOSITORY', matching(OWNER_AND_NAME, 'owner/name'), {
    unset: 'from GIT_REPO_URL',
    example: 'acme/platform',
    description: 'The repository on GitHub; pushes of any other are ignored.',
  }),
  githubApiUrl: variable('GITHUB_API_URL', httpUrl, {
    default: 'https://api.github.com',
    example: 'https://github.example.com/api/v3',
    description: 'The API of GitHub, or of a GitHub Enterprise Server.',
  }),
} as const;

export function gitConfig({ url, branch, token, githubApiUrl, ...given }: ValuesOf<typeof GIT>) {
  /** The `owner/name` that pushes must come from, or null to accept any. */
  const repository = given.repository ?? repositoryOf(url, githubApiUrl);
  const [owner, repo] = repository?.split('/') ?? [];
  return {
    git: { url, branch, token },
    /** Null when the repository is not on GitHub as far as we know; then there are no statuses. */
    github: owner && repo && token ? { owner, repo, apiUrl: githubApiUrl, token } : null,
    repository,
    githubApiUrl,
  };
}

/** The `owner/name` of a repository on github.com or on the Enterprise Server of the API address, else null. */
function repositoryOf(url: string, apiUrl: string): string | null {
  const apiHost = new URL(apiUrl).hostname;
  const expectedHost = apiHost === 'api.github.com' ? 'github.com' : apiHost;
  const scp = /^(?:[^@/]+@)?([^:/]+):(?!\/\/)\/?(.+)$/.exec(url);
  const [host, location] =
    URL.canParse(url) && !scp ? [new URL(url).hostname, new URL(url).pathname] : [scp?.[1], scp?.[2]];
  const name = location?.replace(/^\/+|\/+$/g, '').replace(/\.git$/, '');
  return host === expectedHost && name && OWNER_AND_NAME.test(name) ? name : null;
}
