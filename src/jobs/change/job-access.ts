/** Opens the repository of a job: checks its address, decrypts the user's token, and keeps the token secret. */

import { RunnerError } from '../../errors.ts';
import { createRedactor } from '../../process/output/redact.ts';
import { type GitProvider, isJobId, type Job, maskToken } from '../../runs/job.ts';
import { checkRemoteUrl, type RemoteUrlRules } from '../../runs/texts/remote-url.ts';

export interface JobAccessOptions {
  /** The allowed values of `repo_url`. */
  rules: Omit<RemoteUrlRules, 'what'>;
  /** Returns null if there is no provider, and the end of a sentence if it cannot be used. */
  provider(userId: string, providerId: string): Promise<GitProvider | string | null>;
  /** Returns null for a text that was not sealed with our key. */
  decrypt(sealed: string): string | null;
}

export interface JobAccess {
  provider: GitProvider;
  token: string;
  /** Checked, and free of credentials. */
  url: string;
}

/** The job cannot succeed, for a reason that its user may read. */
export class JobFailed extends RunnerError {}

const PUBLIC_HOSTS: Record<GitProvider['type'], string> = { github: 'github.com', gitlab: 'gitlab.com' };
const MIN_PART_LENGTH = 6;
const CUT_MARK = / \[line cut after \d+ bytes\]$/;

export async function openAccess(
  { provider, decrypt, rules }: JobAccessOptions,
  job: Job,
): Promise<JobAccess> {
  if (!isJobId(job.id)) throw new JobFailed('The id of the job cannot be used.');
  const remote = checkRemoteUrl(job.repositoryUrl, { ...rules, what: 'The repo_url' });
  if (!remote.ok) throw new JobFailed(remote.problem);
  const found = await provider(job.userId, job.providerId);
  const name = `git provider ${job.providerId.slice(0, 80)}`;
  if (found === null || typeof found === 'string') {
    const problem = found ?? 'does not exist';
    throw new JobFailed(`The ${name} of the user ${problem}.`, { nextAction: 'Connect it again.' });
  }
  const token = decrypt(found.token);
  if (token === null || token === '' || /[\p{Cc}]/u.test(token)) {
    throw new JobFailed(`The token of the ${name} cannot be decrypted.`, {
      nextAction: 'Connect the provider again, or correct ENCRYPTION_KEY.',
    });
  }
  if (!mayHaveToken(found, remote)) {
    throw new JobFailed(`The repository is on ${remote.host}, and the token is for another host.`, {
      nextAction: 'Use the provider that the repository belongs to.',
    });
  }
  return { provider: found, token, url: remote.url };
}

/** The base of the provider's web pages, for example https://github.com, or null if its address is not a URL. */
export function providerOrigin({ type, url }: GitProvider): string | null {
  const parsed = URL.parse(url ?? `https://${PUBLIC_HOSTS[type]}`);
  if (parsed === null || !/^https?:$/.test(parsed.protocol)) return null;
  return parsed.host === 'api.github.com' ? 'https://github.com' : parsed.origin;
}

/** A token may be sent to the host of its provider, and to hosts that the operator has listed. */
export function mayHaveToken(
  provider: GitProvider,
  { host, isListed }: { host: string; isListed: boolean },
): boolean {
  const origin = providerOrigin(provider);
  return isListed || (origin !== null && new URL(origin).hostname === host);
}

/** Masks the token in a text: as it is, in the encodings in which tools print it, and the start of one that was cut. */
export function createTokenMask(token: string): (text: string) => string {
  const encoded = createRedactor([token]);
  const shown = maskToken(token);
  // The encoded forms come last, because the mask of a short token could look like the token itself.
  return (text) => encoded(withoutCutToken(text, token).replaceAll(token, () => shown));
}

/** A line that was too long may end inside the token. */
function withoutCutToken(text: string, token: string): string {
  const mark = CUT_MARK.exec(text);
  if (mark === null) return text;
  const line = text.slice(0, mark.index);
  for (let length = token.length - 1; length >= MIN_PART_LENGTH; length -= 1) {
    if (line.endsWith(token.slice(0, length))) return `${line.slice(0, -length)}****${mark[0]}`;
  }
  return text;
}
