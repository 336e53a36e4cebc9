/** What commands read that talk to a running server. */

import { ConfigError } from '../errors.ts';
import { SECRET_VARIABLES } from './access.ts';
import type { Environment } from './environment.ts';
import { SERVER_VARIABLES, serverUrl } from './server.ts';
import { optionalText } from './shapes.ts';
import { parse, problemWith, variable } from './variable.ts';

export const CLIENT_VARIABLES = {
  IAC_RUNNER_TOKEN: variable({
    schema: optionalText,
    expected: 'a token of API_TOKENS, without its name and role',
    example: 'the token of an operator',
    description: 'For the command `deliveries`: who is asking. The server does not read it.',
    default: '(none)',
    secret: 'all',
  }),
} as const;

const ADDRESS_VARIABLES = {
  PUBLIC_URL: SERVER_VARIABLES.PUBLIC_URL,
  WEBHOOK_PORT: SERVER_VARIABLES.WEBHOOK_PORT,
} as const;

/** For those that sign their requests. */
export function readClientConfig(environment: Environment): { secret: string; url: string } {
  const { SYNC_SECRET, WEBHOOK_SECRET } = SECRET_VARIABLES;
  const { SYNC_SECRET: own } = parse({ SYNC_SECRET }, environment);
  const values = parse(ADDRESS_VARIABLES, environment);
  const secret = own ?? parse({ WEBHOOK_SECRET }, environment).WEBHOOK_SECRET;
  return { secret, url: serverUrl(values, environment) };
}

/** For those that show a token. */
export function readApiClientConfig(environment: Environment): { token: string; url: string } {
  const values = parse({ ...CLIENT_VARIABLES, ...ADDRESS_VARIABLES }, environment);
  const token = values.IAC_RUNNER_TOKEN;
  if (token === null) throw new ConfigError(problemWith(CLIENT_VARIABLES, 'IAC_RUNNER_TOKEN', undefined));
  return { token, url: serverUrl(values, environment) };
}
