/** The environment of this process, and the part of it that children get. */

export type Environment = Readonly<Record<string, string | undefined>>;

/** Children get these variables of the server's own environment. None of them is a secret. */
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

/** The variables that every child gets. */
export function plumbingOf(environment: Environment): Record<string, string> {
  return pick(given(environment), PLUMBING);
}

/** The variables of a list that are set and not empty. */
export function pick(environment: Record<string, string>, list: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    list.flatMap((name) => {
      const value = environment[name];
      return value === undefined || value === '' ? [] : [[name, value]];
    }),
  );
}
