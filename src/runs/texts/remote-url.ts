/** The addresses that a request may name: which protocols, which hosts, and never what git could run. Pure. */

import { canonicalHost, isAddress, isPublicAddress } from './public-address.ts';

export const REMOTE_PROTOCOLS = ['https', 'http', 'ssh', 'git', 'file'] as const;

export type RemoteProtocol = (typeof REMOTE_PROTOCOLS)[number];

export interface RemoteUrlRules {
  /** Those of REMOTE_PROTOCOLS that may be used; any other word is without effect. */
  protocols: readonly string[];
  /** `host` or `host:port`. When there is any, only these may be named, private ones too; else any public host. */
  hosts: readonly string[];
  /** The field, for the problem's sentence, e.g. "git_url". */
  what: string;
}

export interface RemoteUrl {
  ok: true;
  /** In canonical spelling and without credentials; the user of an ssh address stays. */
  url: string;
  /** Canonical; IPv6 in brackets; empty for `file`. */
  host: string;
  /** Also when it is the protocol's own; null for `file`. */
  port: number | null;
  protocol: RemoteProtocol;
  /** The user information of an http(s) URL, decoded. */
  credentials: { username: string; password: string } | null;
  /** The operator named this host, so it is not asked whether its addresses are public. */
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

/** Names that stand for this machine or a private network wherever they are looked up (RFC 6761, 6762, 8375). */
const LOCAL_NAMES = /(^|\.)(localhost|localdomain|local|internal|home\.arpa)$/;

const USER = /^[A-Za-z0-9_][A-Za-z0-9._+-]*$/;

/** Names look like public ones here and may still lead elsewhere: whoever connects checks the addresses. */
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
  // Programs differ in what they take a backslash for.
  if (/[\p{Cc}\s\\]/u.test(text) || !text.isWellFormed()) {
    return 'has white space, control characters or a backslash.';
  }
  return null;
}

/** The problem's sentence when it is none. */
function urlAddress(protocol: Exclude<RemoteProtocol, 'file'>, text: string): Address | string {
  const [, authority = '', path = ''] = /^[^:]+:\/\/([^/?#]*)(.*)$/.exec(text) ?? [];
  const url = URL.parse(text);
  // The URL standard skips slashes where others see an empty host.
  if (url === null || authority === '' || path.includes('#')) return 'is not a valid URL.';
  // Of ssh:// and git:// the standard leaves the host as it is written.
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
  // git decodes the path of these before it is sent, so what is hidden in it has to be harmless, too.
  const clean = decoded(url.pathname);
  if (path.includes('?') || /[\p{Cc}\\]/u.test(clean)) return 'has a path that cannot be used.';
  const user = username === '' ? '' : `${username}@`;
  return { protocol, host, port, url: `${protocol}://${user}${origin}${url.pathname}`, credentials: null };
}

/** `user@host:path`, as git itself takes it for ssh: without a scheme, a colon before the first slash. */
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

/** A name without a dot is one of the own network. */
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
