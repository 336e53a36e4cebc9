/** The platform repository, or the file of several: its address, its branch, and its name on GitHub. */

import { ConfigError } from '../../errors.ts';
import type { RepositoryConfig } from '../repositories.ts';
import { githubName, lastPart, OWNER_AND_NAME } from '../repository-names.ts';
import { absolutePath, anyText, httpUrl, matching, text } from '../shapes.ts';
import { problemWith, type ValuesOf, variable } from '../variable.ts';

/** The rule for the address of a repository of the operator. */
export const repositoryUrl = {
  schema: text.refine(
    (value) => !value.startsWith('-') && !/^\s*[a-z0-9+.-]*::/i.test(value) && !/\s/.test(value),
  ),
  expected: 'the URL of the platform repository (https, ssh, or a local path; no `transport::address`)',
};
/** https://git-scm.com/docs/git-check-ref-format */
export const branchName = matching(
  /^(?![-/.]|@$)(?!.*(\.\.|\/[/.]|@\{|\.lock(\/|$)|[/.]$))[^\s~^:?*[\\\p{Cc}]+$/u,
  'the name of a branch',
);
const URL_FACTS = {
  example: 'https://github.com/acme/platform.git',
  description: 'The platform repository. Credentials in it are used for git only and never shown.',
  secret: 'in_url',
  recommended: true,
} as const;

export const GIT = {
  url: variable('GIT_REPO_URL', repositoryUrl, {
    ...URL_FACTS,
    unset: 'required unless CONFIG_FILE names repositories',
  }),
  branch: variable('GIT_BRANCH', branchName, {
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
  configFile: variable('CONFIG_FILE', absolutePath, {
    unset: 'none: one repository with one unnamed environment',
    example: '/etc/iac-runner/config.yaml',
    description:
      'The file of the repositories and their environments, in place of GIT_REPO_URL, GIT_BRANCH and GITHUB_REPOSITORY, and of those who are told; see environments.md and notifications.md.',
  }),
} as const;

const REQUIRED_URL = variable('GIT_REPO_URL', repositoryUrl, URL_FACTS);

/** The table in which GIT_REPO_URL is required unless CONFIG_FILE names the repositories. */
export function gitTable(isInFile: boolean): typeof GIT {
  return isInFile ? GIT : { ...GIT, url: REQUIRED_URL };
}

/** The repository of the variables, which has one unnamed environment. */
export function oneRepository(values: ValuesOf<typeof GIT>): RepositoryConfig {
  const { url, branch, token } = values;
  if (url === null) throw new ConfigError(problemWith(GIT.url));
  const fullName = values.repository ?? githubName(url, values.githubApiUrl);
  return {
    name: fullName ?? lastPart(url),
    fullName,
    url,
    token: token === null ? null : { value: token },
    deployments: false,
    serviceStatuses: false,
    environments: [{ name: null, source: { branch }, url: null, variables: {}, secrets: {}, windows: [] }],
  };
}
