/** A repository's address: checked, stripped of its credentials, with the header that replaces them. */

import { resolve } from 'node:path';
import { ConfigError, RunnerError } from '../../errors.ts';
import { REMOTE_PROTOCOLS, type RemoteProtocol, type RemoteUrl } from '../../runs/texts/remote-url.ts';
import { REQUESTED_REMOTE, type RemoteAdvice } from '../failure.ts';

export interface Remote {
  /** Free of credentials: safe in argv, errors and logs. */
  url: string;
  /** The only protocol that git may use to talk to this remote. */
  protocol: RemoteProtocol;
  /** A git setting that authenticates requests to exactly this scheme, host and port; null if there is none. */
  credential: { key: string; value: string } | null;
  /** Removes this remote's secrets, and the user information of any URL, from the text. */
  clean(text: string): string;
  /** The next actions for the person who named the remote. Left out: errors advise the operator. */
  advice?: RemoteAdvice;
}

/**
 * Reads GIT_REPO_URL: a URL, `host:path` (ssh) or a local path. The user information of an http(s) URL wins over
 * `token`. Throws ConfigError for an address that git could take for an option or a program. The error never repeats it.
 */
export function parseRemote(options: { url: string; token: string | null }): Remote {
  const { url } = options;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these characters must not be there.
  if (url === '' || url.startsWith('-') || /[\u0000-\u001f\u007f]/.test(url)) {
    throw refused('It is empty, begins with "-" or has control characters.');
  }
  // "name::address" makes git start the program git-remote-name; ext:: runs any command (gitremote-helpers(7)).
  if (/^[^/]*::/.test(url)) throw refused('Remote helpers ("ext::") are not allowed.');

  const scheme = /^([^:/]*):\/\//.exec(url)?.[1]?.toLowerCase();
  if (scheme === undefined) return plainRemote(url);
  const protocol = REMOTE_PROTOCOLS.find((known) => known === scheme);
  if (!protocol) throw refused(`Its scheme is none of ${REMOTE_PROTOCOLS.join(', ')}.`);
  if (protocol === 'file') return { url, protocol, credential: null, clean: cleaner([]) };
  return urlRemote(protocol, url, options.token);
}

/**
 * Returns the remote that a request names, after its address was checked. Throws RunnerError for credentials that
 * anybody on the way could read: plain http is for listed hosts only.
 */
export function requestedRemote(
  { url, protocol, isListed }: RemoteUrl,
  credentials: RemoteUrl['credentials'],
): Remote {
  const remote = { url, protocol, advice: REQUESTED_REMOTE };
  if (credentials === null) return { ...remote, credential: null, clean: cleaner([]) };
  if (protocol === 'http' && !isListed) {
    throw new RunnerError('The credentials for the repository would travel unencrypted over http.', {
      nextAction: 'Use https.',
    });
  }
  const { username, password } = credentials;
  const basic = Buffer.from(`${username}:${password}`).toString('base64');
  const secrets = [basic, password, encodeURIComponent(password), password === '' ? username : ''];
  return {
    ...remote,
    credential: basicAuthorization(new URL(url).origin, basic),
    clean: cleaner(secrets),
  };
}

function basicAuthorization(origin: string, basic: string): { key: string; value: string } {
  return { key: `http.${origin}/.extraHeader`, value: `Authorization: Basic ${basic}` };
}

function urlRemote(protocol: RemoteProtocol, address: string, token: string | null): Remote {
  if (!URL.canParse(address)) throw refused('It is not a valid URL.');
  const url = new URL(address);
  const username = decoded(url.username);
  const password = decoded(url.password);
  const encodedPassword = url.password;
  url.password = '';
  if (protocol !== 'https' && protocol !== 'http') {
    return { url: url.href, protocol, credential: null, clean: cleaner([password, encodedPassword]) };
  }

  url.username = '';
  const mayAuthenticate = protocol === 'https' || isLoopback(url.hostname);
  if (username && !mayAuthenticate)
    throw refused('Credentials would travel unencrypted over http; use https.');
  const own = username || password ? `${username}:${password}` : null;
  const pair = own ?? (token ? `x-access-token:${token}` : null);
  const basic = pair === null ? '' : Buffer.from(pair).toString('base64');
  // A user name without a password may be a token. A short one is a name such as "git".
  const loneName = password === '' && username.length >= 8 ? username : '';
  const secrets = [basic, token ?? '', password, encodedPassword, loneName];
  return {
    url: url.href,
    protocol,
    credential: basic && mayAuthenticate ? basicAuthorization(url.origin, basic) : null,
    clean: cleaner(secrets),
  };
}

/** By git's own rule, a colon before the first slash means ssh, and anything else is a local path (git-fetch(1)). */
function plainRemote(address: string): Remote {
  const isSsh = /^[^/]*:/.test(address);
  const [url, protocol] = isSsh ? [address, 'ssh' as const] : [resolve(address), 'file' as const];
  return { url, protocol, credential: null, clean: cleaner([]) };
}

function cleaner(secrets: string[]): (text: string) => string {
  const present = secrets.filter((secret) => secret !== '');
  return (text) => {
    const masked = present.reduce((rest, secret) => rest.replaceAll(secret, '***'), text);
    return masked.replace(/(:\/\/)[^\s/@'"]*@/g, '$1');
  };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d+){3}$/.test(hostname);
}

function refused(why: string): ConfigError {
  return new ConfigError(`GIT_REPO_URL cannot be used. ${why}`, {
    nextAction: 'Set it to an https or ssh URL, or a path.',
  });
}
