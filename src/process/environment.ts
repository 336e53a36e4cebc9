/** Finds the secret values of an environment. */

const SECRET_NAMES = [
  /(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|APIKEY|ACCESSKEY|PRIVATEKEY)S?\d*(_|$)/,
  /(^|_)(KEYS?|PASS|PAT|COOKIE|DSN)\d*(_|$)/,
  /_(AUTH|PWD)\d*$/,
  // Anybody who knows the address may post to it.
  /(^|_)WEBHOOKS?\d*(_URLS?\d*)?$/,
];

/** The values to mask in output: those of variables with a secret's name, and passwords in URLs. */
export function taskSecrets(environment: Record<string, string>): string[] {
  const secrets = new Set<string>();
  for (const [name, value] of Object.entries(environment)) {
    if (isSecretName(name)) secrets.add(value);
    for (const secret of secretsOfUrl(value)) secrets.add(secret);
  }
  secrets.delete('');
  return [...secrets];
}

/** True if the name says so, or if the value is a URL with a password. */
export function isSecretVariable(name: string, value: string): boolean {
  return isSecretName(name) || secretsOfUrl(value).length > 0;
}

export function isSecretName(name: string): boolean {
  return SECRET_NAMES.some((pattern) => pattern.test(name.toUpperCase()));
}

/** The secrets of `postgres://user:PASSWORD@host` and `https://TOKEN@host`, as written and decoded. */
function secretsOfUrl(value: string): string[] {
  if (!value.includes('@')) return [];
  const url = URL.parse(value);
  // The user of an ssh address is only a name. The user of an http address may be a token.
  const secret = url?.password || (/^https?:$/.test(url?.protocol ?? '') && url?.username);
  if (!secret) return [];
  try {
    return [secret, decodeURIComponent(secret)];
  } catch {
    return [secret];
  }
}
