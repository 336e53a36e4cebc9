/** The parts that the scripts of jobs share. */

import { ASIDE, GROUP, LEASES, STREAM } from './job-keys.ts';

/**
 * Our own keys:
 * - `runner:leases`: the jobs by the end of their lease.
 * - `runner:job:{id}`: a hash of the lease (token, user, entry) and of the attempts so far.
 * - `runner:user:{id}:holders`: the user's running jobs by the end of their lease. The counter
 *   `runner:user:{id}:running` always equals their number.
 * - `runner:user:{id}:waiting`: the entries that wait for their user's turn, by age.
 * - `runner:ready`: the users who have such an entry and may run one more job, by turn.
 *
 * If any of these is lost, it is found again, because each entry stays pending in the group until its job has ended.
 *
 * ARGV begins with: consumer, most jobs of a user at once, lease in ms, attempts.
 */
export const COMMON = `
local STREAM, GROUP, ASIDE = '${STREAM}', '${GROUP}', '${ASIDE}'
local LEASES, READY = '${LEASES}', 'runner:ready'
local DAY, WEEK, MAX_BYTES = '86400', '604800', 1048576
local FINAL = { success = true, failed = true, cancelled = true }
local call, pcall_redis = redis.call, redis.pcall
local me, limit, lease_ms, max_attempts = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local position = 4
local function take() position = position + 1; return ARGV[position] end
local time = call('TIME')
local at = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function text(number) return string.format('%.0f', number) end
local now, lease_end = text(at), text(at + lease_ms)
local function type_of(key) return call('TYPE', key).ok end
local good = {}
-- Runs a command on one of our keys. A value of another type there is of no use to anybody, and is deleted.
local function own(command, key, ...)
  if good[key] then return call(command, key, ...) end
  good[key] = true
  local reply = pcall_redis(command, key, ...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  if not string.find(reply.err, 'WRONGTYPE') and not string.find(reply.err, 'not an integer') then error(reply.err) end
  call('DEL', key)
  return call(command, key, ...)
end
local function holders(user) return 'runner:user:' .. user .. ':holders' end
local function waiting(user) return 'runner:user:' .. user .. ':waiting' end
local function lease_of(job) return 'runner:job:' .. job end
local function fields_of(list)
  local fields = {}
  for index = 1, #list, 2 do fields[list[index]] = list[index + 1] end
  return fields
end
local function done_with(...)
  pcall_redis('XACK', STREAM, GROUP, ...)
  pcall_redis('XDEL', STREAM, ...)
end
-- How many of a user's jobs run, and the users whose counter has to be written.
local counts, changed = {}, {}
local function count(user)
  if counts[user] then return counts[user] end
  local number = own('ZCARD', holders(user))
  if number > 0 then
    local expired = call('ZREMRANGEBYSCORE', holders(user), '-inf', now)
    if expired > 0 then number, changed[user] = number - expired, true end
  end
  counts[user] = number
  return number
end
local function hold(user, job)
  local before = count(user)
  counts[user], changed[user] = before + call('ZADD', holders(user), lease_end, job), true
end
-- Written at the end, so that nobody sees numbers in between.
local function write_counts()
  for user in pairs(changed) do call('SET', 'runner:user:' .. user .. ':running', counts[user], 'EX', DAY) end
  changed = {}
end
-- The next turn comes after all turns so far.
local turns, turn = {}
local function give_turns()
  if #turns > 0 then call('ZADD', READY, 'NX', unpack(turns)) end
  turns, turn = {}, nil
end
local function give_turn(user)
  turn = (turn or tonumber(own('ZRANGE', READY, -1, -1, 'WITHSCORES')[2] or '0')) + 1
  turns[#turns + 1] = text(turn)
  turns[#turns + 1] = user
  if #turns > 1000 then give_turns() end
end
local function make_ready(user)
  if count(user) < limit and own('ZCARD', waiting(user)) > 0 then give_turn(user) end
end
local function release(user, job)
  own('ZREM', holders(user), job)
  counts[user], changed[user] = nil, true
  count(user)
  make_ready(user)
end
local function is_held(job)
  local ends = own('ZSCORE', LEASES, job)
  return ends and tonumber(ends) > at
end
local asides = {}
local function set_aside(entry, fields, reason)
  local function part(name) return string.sub(fields[name] or '', 1, 200) end
  own('XADD', ASIDE, 'MAXLEN', 1000, '*', 'entry', entry, 'job_id', part('job_id'),
    'user_id', part('user_id'), 'reason', reason, 'at', now)
  local key = 'job:' .. part('job_id')
  if type_of(key) == 'hash' and not is_held(part('job_id')) then
    local status = call('HGET', key, 'status')
    if not FINAL[status or ''] then
      call('HSET', key, 'status', 'failed', 'finished_at', now, 'error_message', reason)
    end
  end
  done_with(entry)
  asides[#asides + 1] = { entry, part('job_id'), reason }
end
local REQUIRED = { 'job_id', 'user_id', 'provider_id', 'repo_url', 'prompt' }
local function problem_with(fields, bytes)
  for index = 1, #REQUIRED do
    local name = REQUIRED[index]
    if not fields[name] then return 'The entry has no ' .. name .. '.' end
    if fields[name] == '' then return 'The ' .. name .. ' of the entry is empty.' end
  end
  if bytes > MAX_BYTES then return 'The entry is larger than ' .. MAX_BYTES .. ' bytes.' end
  if #fields.job_id > 128 or not string.match(fields.job_id, '^%w[%w_-]*$') then
    return 'The job_id has other characters than letters, digits, _ and -, or more than 128.'
  end
  if #fields.user_id > 256 or string.match(fields.user_id, '[%s%c]') then
    return 'The user_id has blanks, or more than 256 characters.'
  end
  if #fields.provider_id > 256 or string.match(fields.provider_id, '[%s%c:]') then
    return 'The provider_id has blanks or colons, or more than 256 characters.'
  end
end
-- Puts an entry where it waits for its user's turn. Doing so again changes nothing.
local arrived, users = {}, {}
local function shelve(entry, list)
  local fields, bytes = fields_of(list), 0
  for index = 1, #list do bytes = bytes + #list[index] end
  local problem = problem_with(fields, bytes)
  if problem then return set_aside(entry, fields, problem) end
  local user = fields.user_id
  if not arrived[user] then
    arrived[user] = {}
    users[#users + 1] = user
  end
  local words = arrived[user]
  local ms, number = string.match(entry, '^(%d+)-(%d+)$')
  words[#words + 1] = text(tonumber(ms) * 4096 + math.min(tonumber(number), 4095))
  words[#words + 1] = entry .. '|' .. fields.job_id
end
local function line_up()
  for _, user in ipairs(users) do
    own('ZADD', waiting(user), 'NX', unpack(arrived[user]))
    if count(user) < limit then give_turn(user) end
  end
  arrived, users = {}, {}
  give_turns()
end
local function shelve_by_id(entry)
  local found = call('XRANGE', STREAM, entry, entry)[1]
  if found then shelve(entry, found[2]) else call('XACK', STREAM, GROUP, entry) end
end
-- The workers of these leases are dead or were paused for too long. Nothing that they write counts any more.
local function end_leases()
  for _, job in ipairs(own('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, 100)) do
    call('ZREM', LEASES, job)
    local key = lease_of(job)
    local user, entry = unpack(own('HMGET', key, 'user', 'entry'))
    call('HDEL', key, 'token', 'entry')
    call('EXPIRE', key, WEEK)
    if user then release(user, job) end
    if entry and call('XRANGE', STREAM, entry, entry)[1] then
      shelve_by_id(entry)
    elseif type_of('job:' .. job) == 'hash' and call('HGET', 'job:' .. job, 'status') == 'running' then
      -- Its entry was trimmed or deleted, so nobody would ever find the job.
      local list = {}
      for _, name in ipairs({ 'user_id', 'provider_id', 'repo_url', 'prompt', 'environment' }) do
        list[#list + 1] = name
        list[#list + 1] = call('HGET', 'job:' .. job, name) or ''
      end
      call('XADD', STREAM, '*', 'job_id', job, unpack(list))
    end
  end
end
-- Whether the caller may still write to the job. It may not after its lease, even if nobody has started the job again: the
-- watchdog of a runner that stood still may have ended the work. If the end of the lease is unknown because the set of
-- leases was lost, the token decides, and the next renewal stores the end again. is_held differs in that.
local function owns(job, token)
  local ends = own('ZSCORE', LEASES, job)
  if ends and tonumber(ends) <= at then return false end
  return own('HGET', lease_of(job), 'token') == token
end
`;

/** The end of each script. It does what was postponed, even if the script fails. */
export const CLOSE = `
local done, answer = pcall(work)
line_up()
write_counts()
if not done then error(answer, 0) end
return answer
`;
