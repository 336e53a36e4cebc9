/** The environment as it was given, and which of it goes on to children. */

export type Environment = Readonly<Record<string, string | undefined>>;

/** Variables that children get from the server's own environment when they are set: plumbing, never secrets. */
const PLUMBING = [
  'PATH',
  'HOME',
  'USER',
  'LANG',
  'LC_ALL',
  'TZ',
  'TMPDIR',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'SSH_AUTH_SOCK',
  'DOCKER_HOST',
  'HTTPS_PROXY',
  'HTTP_PROXY',
  'NO_PROXY',
];

export function given(environment: Environment): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environment).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}

/** What every child gets, when it is set. */
export function plumbingOf(environment: Environment): Record<string, string> {
  return pick(given(environment), PLUMBING);
}

/** Those of a list that are set and not empty. */
export function pick(environment: Record<string, string>, list: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    list.flatMap((name) => {
      const value = environment[name];
      return value === undefined || value === '' ? [] : [[name, value]];
    }),
  );
}
