/** Reads the hash and the lines of a job, and the length of the queue, for display. Writes nothing. */

import { createHash } from 'node:crypto';
import type { JobQueue } from '../../runs/job.ts';
import { SECOND } from '../../units.ts';
import { openConnection, type Reply, type Script } from './connection.ts';
import { jobKey, LEASES, outputKey, STREAM } from './job-keys.ts';
import { listOf } from './job-replies.ts';

export interface JobView {
  /** Null if there is no such job. */
  fields: Readonly<Record<string, string>> | null;
  /** As they were written: JSON, or any text of another program. */
  lines: readonly string[];
}

/** Every function throws StoreUnavailableError if Redis refuses or does not answer. */
export type JobReader = ReturnType<typeof openJobReader>;

const QUEUE_LUA = `
local time = redis.call('TIME')
local at = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local depth = redis.call('XLEN', '${STREAM}')
local running = redis.call('ZCOUNT', '${LEASES}', string.format('(%.0f', at), '+inf')
local from = '-'
-- Those that run are few, and among the oldest. A few at a time, as entries may be large.
for _ = 1, 64 do
  local found = redis.call('XRANGE', '${STREAM}', from, '+', 'COUNT', 8)
  for _, item in ipairs(found) do
    local job = ''
    for index = 1, #item[2], 2 do
      if item[2][index] == 'job_id' then job = item[2][index + 1] end
    end
    local ends = redis.call('ZSCORE', '${LEASES}', job)
    if not ends or tonumber(ends) <= at then
      return { depth, running, math.max(0, at - tonumber(string.match(item[1], '^%d+'))) }
    end
    from = '(' .. item[1]
  end
  if #found < 8 then break end
end
return { depth, running, -1 }
`;
const QUEUE: Script = { lua: QUEUE_LUA, sha1: createHash('sha1').update(QUEUE_LUA).digest('hex') };

const SHOWN = [
  ...['id', 'status', 'repo_name', 'branch', 'lines_added', 'lines_removed', 'created_at', 'started_at'],
  ...['finished_at', 'error_message', 'mr_url', 'mr_warning'],
];
const TIMEOUT_MS = 4 * SECOND;

/** Connects when something is first read. */
export function openJobReader(url: string) {
  const connection = openConnection({ url, timeoutMs: TIMEOUT_MS });
  return {
    /**
     * Reads some of the fields, and at most `limit` lines after the first `after`. The fields are read first, so that all
     * lines are there if the fields say that the job has ended.
     */
    async read(jobId: string, after: number, limit: number): Promise<JobView> {
      try {
        const [values, lines] = await connection.all([
          ['HMGET', jobKey(jobId), ...SHOWN],
          ['LRANGE', outputKey(jobId), after, after + limit - 1],
        ]);
        return { fields: fieldsOf(values), lines: textsOf(lines) };
      } catch (error) {
        // A key of another type is no job.
        if (error instanceof Error && /WRONGTYPE/.test(error.message)) return { fields: null, lines: [] };
        throw error;
      }
    },
    async queue(): Promise<JobQueue> {
      const [depth, running, oldest] = listOf(await connection.evaluate(QUEUE, [])).map(Number);
      const isWaiting = oldest !== undefined && oldest >= 0;
      return { depth: depth ?? 0, running: running ?? 0, oldestWaitingMs: isWaiting ? oldest : null };
    },
    close: () => connection.close(),
  };
}

function fieldsOf(reply: Reply | undefined): JobView['fields'] {
  if (!Array.isArray(reply)) return null;
  const fields = reply.flatMap((value, index): [string, string][] => {
    const name = SHOWN[index];
    return name !== undefined && typeof value === 'string' ? [[name, value]] : [];
  });
  return fields.length === 0 ? null : Object.fromEntries(fields);
}

function textsOf(reply: Reply | undefined): string[] {
  return Array.isArray(reply) ? reply.filter((value) => typeof value === 'string') : [];
}
