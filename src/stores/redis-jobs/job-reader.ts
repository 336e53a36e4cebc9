/** Reads what is shown of a job: its hash and the lines of its output. Writes nothing. */

import { openConnection, type Reply } from '../redis-store/connection.ts';
import { jobKey, outputKey } from './job-keys.ts';

export interface JobView {
  /** Null when there is no such job. */
  fields: Readonly<Record<string, string>> | null;
  /** As they were written: JSON, or whatever another program has put there. */
  lines: readonly string[];
}

export interface JobReader {
  /**
   * Some of the fields, and at most `limit` lines after the first `after`. The fields are read first: when they say
   * that the job has ended, all its lines are there. Throws StoreUnavailableError.
   */
  read(jobId: string, after: number, limit: number): Promise<JobView>;
  close(): Promise<void>;
}

const SHOWN = [
  ...['id', 'status', 'repo_name', 'branch', 'lines_added', 'lines_removed', 'created_at', 'started_at'],
  ...['finished_at', 'error_message', 'mr_url', 'mr_warning'],
];
const TIMEOUT_MS = 4_000;

/** Connects with the first that is read. */
export function openJobReader(url: string): JobReader {
  const connection = openConnection({ url, timeoutMs: TIMEOUT_MS, variable: 'REDIS_URL' });
  return {
    async read(jobId, after, limit) {
      try {
        const [values, lines] = await connection.all([
          ['HMGET', jobKey(jobId), ...SHOWN],
          ['LRANGE', outputKey(jobId), after, after + limit - 1],
        ]);
        return { fields: fieldsOf(values), lines: textsOf(lines) };
      } catch (error) {
        // What is of another type is no job.
        if (error instanceof Error && /WRONGTYPE/.test(error.message)) return { fields: null, lines: [] };
        throw error;
      }
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
