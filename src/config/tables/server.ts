/** The server: where it listens, how people reach it, how much it logs. */

import { isIP } from 'node:net';
import { z } from 'zod';
import { anyText, httpUrl, listOf, wholeNumber } from '../shapes.ts';
import { type ValuesOf, variable } from '../variable.ts';

const portShape = { ...wholeNumber(0, 65_535), expected: 'a port number from 0 to 65535' };

export const SERVER = {
  port: variable('WEBHOOK_PORT', portShape, {
    default: '8080',
    description: 'The port to listen on; 0 takes any free one.',
  }),
  host: variable('HOST', anyText('an address to listen on'), {
    default: '0.0.0.0',
    example: '127.0.0.1',
    description: 'The address to listen on.',
  }),
  publicUrl: variable('PUBLIC_URL', httpUrl, {
    unset: 'https://iac.$INTERNAL_DOMAIN when that is set, else http://localhost:$WEBHOOK_PORT',
    example: 'https://iac.example.com',
    description: 'The address at which people reach this server. Every link that it sends begins with it.',
  }),
  internalDomain: variable('INTERNAL_DOMAIN', anyText('the name of a domain'), {
    unset: 'none',
    example: 'example.com',
    description:
      'The domain from which PUBLIC_URL and DOKPLOY_URL get their defaults. compose.yaml and tasks use it, too.',
    recommended: true,
  }),
  trustedProxies: variable('TRUSTED_PROXIES', listOf(isNetwork, 'addresses and networks, comma-separated'), {
    unset: 'none: the address is that of the connection',
    example: '10.0.0.5,172.18.0.0/16',
    description:
      'Proxies whose `X-Forwarded-For` is trusted. Limits count by the address of the client, so set this behind a proxy.',
  }),
} as const;

const logLevelShape = {
  schema: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
  expected: 'fatal, error, warn, info, debug, trace or silent',
};

export const LOG = {
  logLevel: variable('LOG_LEVEL', logLevelShape, {
    default: 'info',
    description: 'How much the server logs on its standard output, as JSON lines.',
  }),
} as const;

export function serverConfig(values: ValuesOf<typeof SERVER>) {
  const { host, port, trustedProxies } = values;
  return { host, port, trustedProxies: trustedProxies ?? [], publicUrl: publicUrlOf(values) };
}

/** Null when the server can only be reached on this machine. */
export function publicUrlOf(
  values: Pick<ValuesOf<typeof SERVER>, 'publicUrl' | 'internalDomain'>,
): string | null {
  return values.publicUrl ?? (values.internalDomain && `https://iac.${values.internalDomain}`);
}

function isNetwork(entry: string): boolean {
  const [address = '', bits, ...rest] = entry.split('/');
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 6 ? 128 : 32));
}
