/** The server: where it listens, how people reach it, how much it says. */

import { isIP } from 'node:net';
import { z } from 'zod';
import type { Environment } from './environment.ts';
import { httpUrl, names, port, text } from './shapes.ts';
import { type ValuesOf, variable } from './variable.ts';

const logLevel = z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']);

const networks = names
  .optional()
  .transform((list) => list ?? [])
  .refine((list) => list.every(isNetwork));

export const SERVER_VARIABLES = {
  WEBHOOK_PORT: variable({
    schema: port,
    expected: 'a port number from 0 to 65535',
    example: '8080',
    description: 'The port to listen on; 0 takes any free one.',
    default: '8080',
  }),
  HOST: variable({
    schema: text.min(1),
    expected: 'an address to listen on',
    example: '127.0.0.1',
    description: 'The address to listen on.',
    default: '0.0.0.0',
  }),
  PUBLIC_URL: variable({
    schema: httpUrl.optional().transform((value) => value ?? null),
    expected: 'an http(s) URL',
    example: 'https://iac.example.com',
    description: 'Where people reach this server: the base of every link it gives out.',
    default: '(https://iac.$INTERNAL_DOMAIN when that is set, else http://localhost:$WEBHOOK_PORT)',
  }),
  TRUSTED_PROXIES: variable({
    schema: networks,
    expected: 'addresses and networks, comma-separated',
    example: '10.0.0.5,172.18.0.0/16',
    description:
      'Proxies whose `X-Forwarded-For` is believed. Limits count by the address of the client, so set it behind a proxy.',
    default: '(none: the address is that of the connection)',
  }),
} as const;

export const LOG_VARIABLES = {
  LOG_LEVEL: variable({
    schema: logLevel,
    expected: 'fatal, error, warn, info, debug, trace or silent',
    example: 'info',
    description: 'How much the server says on its standard output, as JSON lines.',
    default: 'info',
  }),
} as const;

export type LogLevel = z.output<typeof logLevel>;

export interface ServerConfig {
  server: { host: string; port: number; publicUrl: string | null; trustedProxies: readonly string[] };
  logLevel: LogLevel;
}

export function serverConfig(
  values: ValuesOf<typeof SERVER_VARIABLES & typeof LOG_VARIABLES>,
  environment: Environment,
): ServerConfig {
  const { HOST: host, WEBHOOK_PORT: port, TRUSTED_PROXIES: trustedProxies, LOG_LEVEL } = values;
  return {
    server: { host, port, publicUrl: publicUrl(values, environment), trustedProxies },
    logLevel: LOG_LEVEL,
  };
}

/** Where commands find the server: on this machine when nothing else is said. */
export function serverUrl(
  values: Pick<ValuesOf<typeof SERVER_VARIABLES>, 'PUBLIC_URL' | 'WEBHOOK_PORT'>,
  environment: Environment,
): string {
  return publicUrl(values, environment) ?? `http://localhost:${values.WEBHOOK_PORT}`;
}

function publicUrl(values: { PUBLIC_URL: string | null }, environment: Environment): string | null {
  if (values.PUBLIC_URL) return values.PUBLIC_URL;
  const domain = environment.INTERNAL_DOMAIN?.trim();
  return domain ? `https://iac.${domain}` : null;
}

function isNetwork(entry: string): boolean {
  const [address = '', bits, ...rest] = entry.split('/');
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 6 ? 128 : 32));
}
