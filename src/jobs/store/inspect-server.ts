/** Checks at the start whether this Redis can be used, and what it may lose. */

import { StoreUnavailableError } from '../../errors.ts';
import { type Connection, shownAddress } from './connection.ts';

/** The first version whose XRANGE takes exclusive ends (https://redis.io/docs/latest/commands/xrange/). */
const OLDEST = [6, 2] as const;

/** Returns one sentence for each way to lose what was stored. Throws StoreUnavailableError if Redis cannot be used. */
export async function inspectServer(connection: Connection, url: string): Promise<string[]> {
  const info = String(await connection.call('INFO'));
  const fact = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1];
  const version = fact('redis_version') ?? '0';
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const address = shownAddress(url);
  if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
    throw new StoreUnavailableError(`Redis at ${address} is version ${version}.`, {
      nextAction: `Use ${OLDEST.join('.')} or newer.`,
    });
  }
  if (fact('role') !== 'master') {
    throw new StoreUnavailableError(`Redis at ${address} is a replica, which cannot be written to.`, {
      nextAction: 'Point REDIS_URL to the primary.',
    });
  }
  const warnings: string[] = [];
  if (fact('aof_enabled') !== '1') {
    warnings.push(
      'Redis keeps no append-only file: when it dies, every job since its last snapshot is lost. Set appendonly yes.',
    );
  } else if ((await appendfsync(connection)) !== 'always') {
    warnings.push(
      'Redis writes to the disk once a second: a power loss takes up to the last two seconds with it. Set appendfsync always to lose nothing that was accepted.',
    );
  }
  const policy = fact('maxmemory_policy');
  if (policy !== undefined && policy !== 'noeviction') {
    warnings.push(
      `Redis may evict keys when it is full (maxmemory-policy ${policy}): jobs would vanish. Set maxmemory-policy noeviction.`,
    );
  }
  return warnings;
}

/** Returns null if the server does not show its settings, as hosted ones do not. */
async function appendfsync(connection: Connection): Promise<string | null> {
  const answer = await connection.call('CONFIG', 'GET', 'appendfsync').catch(() => null);
  return Array.isArray(answer) ? String(answer[1]) : null;
}
