/** The form of a subcommand, and what several subcommands share. */

import { type ParseArgsConfig, parseArgs } from 'node:util';
import { UsageError } from '../errors.ts';

export interface Subcommand {
  /** One line for the overview. */
  summary: string;
  /** Printed by --help; ends with a newline. */
  help: string;
  /** Resolves to whether it succeeded; throws for wrong usage, wrong configuration and the like. */
  run(args: string[]): Promise<boolean>;
}

/** The options that name a place, for servers with several. */
export const PLACE_OPTIONS = { environment: { type: 'string' }, repository: { type: 'string' } } as const;
export const PLACE_HELP = `  --environment NAME  the environment, where the server has several
  --repository NAME   the repository, where the server has several
`;

/** The last line of the options of subcommands that ask a server. */
export const URL_HELP =
  '  --url URL         the server (default IAC_RUNNER_URL, else PUBLIC_URL, else https://iac.$INTERNAL_DOMAIN, else localhost)\n';

/** The sentence of subcommands that ask a server in the name of the caller. */
export function tokenHelp(role: string): string {
  return `Reads an API token (see API_TOKENS) of ${role} from IAC_RUNNER_TOKEN.`;
}

/** The sentence of subcommands that may also sign what they ask. */
export const SENDER_HELP =
  'Sent in the name of the API token of an operator in IAC_RUNNER_TOKEN, or, without one, signed with SYNC_SECRET or\nWEBHOOK_SECRET.';

/** Parses arguments with node:util; throws UsageError. */
export function parseOptions<T extends ParseArgsConfig>(args: string[], config: T) {
  try {
    return parseArgs<T & { args: string[] }>({ ...config, args });
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new UsageError(message, { cause });
  }
}
