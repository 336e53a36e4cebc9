/** What repositories of deployments and plans are called, and their pages on GitHub. */

import type { PlanRun, Run } from '../runs/run.ts';

const ON_GITHUB = /^(?:https:\/\/|ssh:\/\/git@|git@)github\.com[/:]([\w.-]+\/[\w.-]+?)(?:\.git)?\/*$/i;

/** The last two parts of the address, as in `owner/name`; the whole address where it has no such parts. */
export function repositoryName(gitUrl: string): string {
  return /[/:]([^/:@]+\/[^/:@]+?)(?:\.git)?\/*$/.exec(gitUrl)?.[1] ?? gitUrl;
}

/** The page of a commit that the run is about, or null. `configured` knows those of the operator's own repository. */
export function commitPage(run: Run, configured: (sha: string) => string | null) {
  return (sha: string): string | null => {
    if (run.kind === 'sync' || run.kind === 'preview' || run.kind === 'command') return configured(sha);
    const base = run.kind === 'plan' ? planRepository(run) : githubRepository(run.input.gitUrl);
    return base === null ? null : `${base}/commit/${encodeURIComponent(sha)}`;
  };
}

export function pullRequestPage(run: PlanRun): string | null {
  const base = planRepository(run);
  return base === null ? null : `${base}/pull/${run.input.pullRequest}`;
}

function githubRepository(gitUrl: string): string | null {
  const name = ON_GITHUB.exec(gitUrl)?.[1];
  return name === undefined ? null : `https://github.com/${name}`;
}

/** On GitHub, or on the Enterprise Server behind the API's address. */
function planRepository({ input: { apiUrl, repository } }: PlanRun): string | null {
  if (!URL.canParse(apiUrl) || !/^[\w.-]+\/[\w.-]+$/.test(repository)) return null;
  const { protocol, host } = new URL(apiUrl);
  if (protocol !== 'https:' && protocol !== 'http:') return null;
  return `${host === 'api.github.com' ? 'https://github.com' : `${protocol}//${host}`}/${repository}`;
}
