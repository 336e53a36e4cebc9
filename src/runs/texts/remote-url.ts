/** Checks the address of a repository in a request: its protocol, its host, and that git cannot run it. Pure. */

import { canonicalHost, isAddress, isPublicAddress } from './public-address.ts';

export const REMOTE_PROTOCOLS = ['https', 'http', 'ssh', 'git', 'file'] as const;

export type RemoteProtocol = (typeof REMOTE_PROTOCOLS)[number];

export interface RemoteUrlRules {
  /** The allowed ones of REMOTE_PROTOCOLS. Any other word has no effect. */
  protocols: readonly string[];
  /** `host` or `host:port`. If there are any, only these are allowed, private ones too; else any public host. */
  hosts: readonly string[];
  /** The field, for the problem's sentence, e.g. "git_url". */
  what: string;
}

export interface RemoteUrl {
  ok: true;
  /** The address in canonical spelling and without credentials. The user of an ssh address stays. */
  url: string;
  /** The canonical host; an IPv6 address is in brackets; empty for `file`. */
  host: string;
  /** The port, also if it is the default one of the protocol; null for `file`. */
  port: number | null;
  protocol: RemoteProtocol;
  /** The user information of an http(s) URL, decoded. */
  credentials: { username: string; password: string } | null;
  /** True if the operator has listed this host, so that its addresses need not be public. */
  isListed: boolean;
}

export type CheckedRemoteUrl = RemoteUrl | { ok: false; problem: string };

interface Address {
  protocol: RemoteProtocol;
  host: string;
  port: number;
  url: string;
  credentials: RemoteUrl['credentials'];
}

const MAX_LENGTH = 2048;

const PORTS = { https: 443, http: 80, ssh: 22, git: 9418 };

/** Names that always mean this machine or a private network (RFC 6761, 6762, 8375). */
const LOCAL_NAMES = /(^|\.)(localhost|localdomain|local|internal|home\.arpa)$/;

const USER = /^[A-Za-z0-9_][A-Za-z0-9._+-]*$/;

/** A name that looks public may still lead to a private address, so the addresses are checked before a connection. */
export function checkRemoteUrl(text: string, rules: RemoteUrlRules): CheckedRemoteUrl {
  const problem = (sentence: string): CheckedRemoteUrl => ({
    ok: false,
    problem: `${rules.what} ${sentence}`,
  });
  const spelling = spellingProblem(text);
  if (spelling !== null) return problem(spelling);
  const allowed = REMOTE_PROTOCOLS.filter((name) => rules.protocols.includes(name));
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  const protocol = scheme === undefined ? 'ssh' : allowed.find((name) => name === scheme);
  if (protocol === undefined || !allowed.includes(protocol)) {
    return problem(
      `must be an absolute URL that begins with ${listOf(allowed.map((name) => `${name}://`))}.`,
    );
  }
  if (protocol === 'file') return fileUrl(text) ?? problem('is not a file URL with an absolute path.');

  const address = scheme === undefined ? scpAddress(text) : urlAddress(protocol, text);
  if (typeof address === 'string') return problem(address);
  const isListed = rules.hosts.some((entry) => isEntryFor(entry, address));
  if (!isListed) {
    if (rules.hosts.length > 0)
      return problem(`names the host ${address.host}, which is not one of those allowed.`);
    if (!looksPublic(address.host))
      return problem(`names the host ${address.host}, which is not a public one.`);
  }
  return { ok: true, ...address, isListed };
}

function spellingProblem(text: string): string | null {
  if (text === '') return 'is empty.';
  if (text.length > MAX_LENGTH) return `is longer than ${MAX_LENGTH} characters.`;
  if (text.startsWith('-')) return 'begins with a dash.';
  // "name::address" makes git start the program git-remote-name; ext:: runs any command (gitremote-helpers(7)).
  if (/^[^/]*::/.test(text) && !/^[^/:]*\[/.test(text)) return 'names a remote helper, as "ext::" is one.';
  // Programs differ in what a backslash means.
  if (/[\p{Cc}\s\\]/u.test(text) || !text.isWellFormed()) {
    return 'has white space, control characters or a backslash.';
  }
  return null;
}

/** Returns a sentence with the problem if the text is no such address. */
function urlAddress(protocol: Exclude<RemoteProtocol, 'file'>, text: string): Address | string {
  const [, authority = '', path = ''] = /^[^:]+:\/\/([^/?#]*)(.*)$/.exec(text) ?? [];
  const url = URL.parse(text);
  // The URL standard skips slashes, where other programs see an empty host.
  if (url === null || authority === '' || path.includes('#')) return 'is not a valid URL.';
  // The standard does not normalise the host of ssh:// and git://.
  const host = canonicalHost(url.hostname);
  if (host === null) return 'has no valid host.';
  const port = url.port === '' ? PORTS[protocol] : Number(url.port);
  const origin = `${host}${port === PORTS[protocol] ? '' : `:${port}`}`;
  const [username, password] = [decoded(url.username), decoded(url.password)];
  if (protocol === 'https' || protocol === 'http') {
    const credentials = username === '' && password === '' ? null : { username, password };
    return { protocol, host, port, url: `${protocol}://${origin}${url.pathname}${url.search}`, credentials };
  }
  if (password !== '') return 'has a password, which its protocol does not use.';
  if (username !== '' && !USER.test(username))
    return 'has a user name with other than letters, digits and . _ + -';
  // git decodes the path before it sends it, so the decoded path has to be harmless, too.
  const clean = decoded(url.pathname);
  if (path.includes('?') || /[\p{Cc}\\]/u.test(clean)) return 'has a path that cannot be used.';
  const user = username === '' ? '' : `${username}@`;
  return { protocol, host, port, url: `${protocol}://${user}${origin}${url.pathname}`, credentials: null };
}

/** Reads `user@host:path`, which git takes for ssh: no scheme, and a colon before the first slash. */
function scpAddress(text: string): Address | string {
  const [, user, name = '', path = ''] = /^(?:([^@/:[\]]*)@)?(\[[^\]]*\]|[^@/:[\]]+):(.+)$/.exec(text) ?? [];
  if (path === '') return 'must be an absolute URL; a path on this machine cannot be used.';
  const host = canonicalHost(name);
  if (host === null) return 'has no valid host.';
  if (user !== undefined && !USER.test(user))
    return 'has a user name with other than letters, digits and . _ + -';
  if (path.startsWith('-')) return 'has a path that begins with a dash.';
  const url = `${user === undefined ? '' : `${user}@`}${host}:${path}`;
  return { protocol: 'ssh', host, port: PORTS.ssh, url, credentials: null };
}

function fileUrl(text: string): CheckedRemoteUrl | null {
  const url = URL.parse(text);
  if (url === null || url.hostname !== '' || url.search !== '' || url.hash !== '') return null;
  if (url.pathname.length < 2 || /[\p{Cc}\\]/u.test(decoded(url.pathname))) return null;
  return {
    ok: true,
    url: url.href,
    host: '',
    port: null,
    protocol: 'file',
    credentials: null,
    isListed: true,
  };
}

/** A name without a dot belongs to the local network. */
function looksPublic(host: string): boolean {
  if (isAddress(host)) return isPublicAddress(host);
  return host.includes('.') && !LOCAL_NAMES.test(host);
}

/** `entry` is `host`, for any port, or `host:port`. */
function isEntryFor(entry: string, { host, port }: Address): boolean {
  const [, name = '', only] = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(entry) ?? [];
  return canonicalHost(name) === host && (only === undefined || Number(only) === port);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function listOf(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}
