/** The variables of the subcommands that talk to a running server. */

import { ConfigError } from '../../errors.ts';
import type { Environment } from '../environment.ts';
import { withSecretFiles } from '../secret-files.ts';
import { anyText, httpUrl } from '../shapes.ts';
import { parse, problemWith, type ValuesOf, variable } from '../variable.ts';
import { ACCESS } from './access.ts';
import { publicUrlOf, SERVER } from './server.ts';

export const CLIENT = {
  url: variable('IAC_RUNNER_URL', httpUrl, {
    unset: 'PUBLIC_URL and its defaults',
    example: 'https://iac.example.com',
    description: 'The server that subcommands ask which talk to a running one. The server does not read it.',
  }),
  token: variable('IAC_RUNNER_TOKEN', anyText('a token of API_TOKENS, without its name and role'), {
    unset: 'none',
    example: 'the token of an operator',
    description:
      'Identifies the caller of the subcommands that ask a running server. Without it, `sync`, `rollback` and `unpin` are signed with the secret. The server does not read it.',
    secret: 'all',
  }),
} as const;

const { publicUrl, port, internalDomain } = SERVER;
const ADDRESS = { url: CLIENT.url, publicUrl, port, internalDomain } as const;

/** Reads the settings of subcommands that sign their requests. */
export function readClientConfig(given: Environment): { secret: string; url: string } {
  const { webhookSecret, syncSecret } = ACCESS;
  const secrets = { [webhookSecret.name]: webhookSecret, [syncSecret.name]: syncSecret };
  const environment = withSecretFiles(secrets, given);
  const { own, address } = parse({ own: { syncSecret }, address: ADDRESS }, environment);
  const secret = own.syncSecret ?? parse({ own: { webhookSecret } }, environment).own.webhookSecret;
  return { secret, url: serverUrl(address) };
}

/** Reads the settings of subcommands that send a token. */
export function readApiClientConfig(given: Environment): { token: string; url: string } {
  const environment = withSecretFiles({ [CLIENT.token.name]: CLIENT.token }, given);
  const { own, address } = parse({ own: { token: CLIENT.token }, address: ADDRESS }, environment);
  if (own.token === null) throw new ConfigError(problemWith(CLIENT.token));
  return { token: own.token, url: serverUrl(address) };
}

/** Reads the settings of subcommands that send a token if there is one, and otherwise sign their requests. */
export function readSenderConfig(
  given: Environment,
): { url: string } & ({ token: string } | { secret: string }) {
  const environment = withSecretFiles({ [CLIENT.token.name]: CLIENT.token }, given);
  const { own } = parse({ own: { token: CLIENT.token } }, environment);
  return own.token === null ? readClientConfig(given) : readApiClientConfig(given);
}

/** The address of the server: this machine unless a variable says otherwise. */
function serverUrl(address: ValuesOf<typeof ADDRESS>): string {
  return address.url ?? publicUrlOf(address) ?? `http://localhost:${address.port}`;
}
