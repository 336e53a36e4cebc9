/** The scripts of jobs. Redis runs each as one step, without any other command in between. */

import { createHash } from 'node:crypto';
import type { Script } from './connection.ts';
import { CLOSE, COMMON } from './job-script-parts.ts';
import { START_JOBS } from './job-start-script.ts';

function script(body: string, ...parts: string[]): Script {
  const lua = [COMMON, ...parts, 'local function work()', body, 'end', CLOSE].join('\n');
  return { lua, sha1: createHash('sha1').update(lua).digest('hex') };
}

/**
 * Starts jobs. Further arguments: how many, instance, entries that were read already… Returns [started, set aside, 1 if
 * there are more entries to look at].
 */
export const START = script(
  `
local wanted = tonumber(take())
instance = take()
for index = position + 1, #ARGV do shelve_by_id(ARGV[index]) end
start_up_to(wanted)
return result()
`,
  START_JOBS,
);

/**
 * Ends jobs, and starts others. Further arguments: how many to start, instance, and for each job that ends: job, entry,
 * token, status, number of words, field, value… Returns [[outcome…], then the result of START]. A final status that
 * somebody else has set stays.
 */
export const FINISH = script(
  `
local wanted = tonumber(take())
instance = take()
local entries, jobs, leases = {}, {}, {}
local function finish(job, entry, token, status, first, last)
  if not owns(job, token) then return 'lost' end
  local user = own('HGET', lease_of(job), 'user')
  local key, outcome = 'job:' .. job, 'deleted'
  local before = pcall_redis('HGET', key, 'status')
  if type(before) == 'string' or type_of(key) == 'hash' then
    outcome = FINAL[before or ''] and before or status
    call('HSET', key, 'status', outcome, 'finished_at', now, unpack(ARGV, first, last))
  end
  local place = #jobs + 1
  entries[place], jobs[place], leases[place] = entry, job, lease_of(job)
  if user then release(user, job) end
  return outcome
end
local outcomes = {}
while position < #ARGV do
  local job, entry, token, status, words = take(), take(), take(), take(), tonumber(take())
  outcomes[#outcomes + 1] = finish(job, entry, token, status, position + 1, position + words)
  position = position + words
end
if #jobs > 0 then
  done_with(unpack(entries))
  own('ZREM', LEASES, unpack(jobs))
  call('DEL', unpack(leases))
end
-- This fails without a group, for example. The next start reports that. The jobs have ended all the same.
if wanted > 0 then pcall(start_up_to, wanted) end
return { outcomes, unpack(result()) }
`,
  START_JOBS,
);

/** Renews leases. Further arguments: job, entry and token of each. Returns the status of each, ':lost' or ':deleted'. */
export const RENEW = script(`
local answers = {}
while position < #ARGV do
  local job, entry, token = take(), take(), take()
  local answer = ':lost'
  if owns(job, token) then
    local user = call('HGET', lease_of(job), 'user')
    own('ZADD', LEASES, lease_end, job)
    hold(user, job)
    call('EXPIRE', holders(user), WEEK)
    call('EXPIRE', lease_of(job), WEEK)
    pcall_redis('XCLAIM', STREAM, GROUP, me, 0, entry, 'JUSTID')
    answer = type_of('job:' .. job) == 'hash' and call('HGET', 'job:' .. job, 'status') or ':deleted'
  end
  answers[#answers + 1] = answer
end
return answers
`);

/** Hands a job back. Further arguments: job, entry, token. The entry waits for its user's next turn as if never started. */
export const HAND_BACK = script(`
local job, entry, token = take(), take(), take()
if not owns(job, token) then return 'lost' end
local key = lease_of(job)
local user = call('HGET', key, 'user')
call('HINCRBY', key, 'attempts', -1)
call('HDEL', key, 'token', 'entry')
own('ZREM', LEASES, job)
if type_of('job:' .. job) == 'hash' and call('HGET', 'job:' .. job, 'status') == 'running' then
  call('HSET', 'job:' .. job, 'status', 'pending')
  call('HDEL', 'job:' .. job, 'started_at')
end
release(user, job)
if type_of(STREAM) == 'stream' then shelve_by_id(entry) end
return 'back'
`);

/** Appends lines to the output. Further arguments: job, token, lines… */
export const APPEND_OUTPUT = script(`
local job, token = take(), take()
if not owns(job, token) then return 'lost' end
local key = 'job:' .. job .. ':output'
local found = type_of(key)
if found ~= 'list' and found ~= 'none' then return 'wrong' end
call('RPUSH', key, unpack(ARGV, position + 1))
call('EXPIRE', key, DAY)
return 'stored'
`);

/**
 * Takes entries back that this process got without knowing it, because an answer was lost. They start again later.
 * Further arguments: instance, entries…
 */
export const RECALL = script(`
local instance = take() .. ':'
for index = position + 1, #ARGV do
  local entry = ARGV[index]
  local found = call('XRANGE', STREAM, entry, entry)[1]
  local job = found and fields_of(found[2]).job_id
  if job then
    local key = lease_of(job)
    local token, user = unpack(own('HMGET', key, 'token', 'user'))
    if token and string.sub(token, 1, #instance) == instance then
      call('HINCRBY', key, 'attempts', -1)
      call('HDEL', key, 'token', 'entry')
      own('ZREM', LEASES, job)
      if user then release(user, job) end
    end
  end
  shelve_by_id(entry)
end
return 'recalled'
`);

/** Shelves the entries of dead consumers. Further arguments: idle ms, cursor. Returns [next cursor, set aside]. */
export const CLAIM_IDLE = script(`
local idle_ms, cursor = take(), take()
end_leases()
local reply = call('XAUTOCLAIM', STREAM, GROUP, me, idle_ms, cursor, 'COUNT', 64, 'JUSTID')
for _, entry in ipairs(reply[2]) do shelve_by_id(entry) end
if reply[1] == '0-0' then
  for _, list in ipairs(call('XINFO', 'CONSUMERS', STREAM, GROUP)) do
    local consumer = fields_of(list)
    if consumer.pending == 0 and consumer.idle > 3600000 then
      call('XGROUP', 'DELCONSUMER', STREAM, GROUP, consumer.name)
    end
  end
end
return { reply[1], asides }
`);

/** Gives the entries that this consumer did not start to others, and removes the consumer if nothing is left. */
export const LEAVE = script(`
for _, pending in ipairs(call('XPENDING', STREAM, GROUP, '-', '+', 1000, me)) do shelve_by_id(pending[1]) end
if #call('XPENDING', STREAM, GROUP, '-', '+', 1, me) == 0 then
  call('XGROUP', 'DELCONSUMER', STREAM, GROUP, me)
end
return 'left'
`);
