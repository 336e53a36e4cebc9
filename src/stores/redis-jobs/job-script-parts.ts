/** What the scripts of jobs have in common. */

import { ASIDE, GROUP, LEASES, STREAM } from './job-keys.ts';

/**
 * Our own keys. `runner:leases`: jobs by the end of their lease. `runner:job:{id}`: hash of the lease (token, user,
 * entry) and of the attempts so far. `runner:user:{id}:holders`: the user's running jobs by the end of their lease;
 * the counter `runner:user:{id}:running` is only ever their number. `runner:user:{id}:waiting`: entries read from the
 * stream that wait for their user's turn, by age. `runner:ready`: users who have such an entry and may run one more,
 * by turn. Whatever is lost of these is found again: each entry stays pending in the group until its job has ended.
 *
 * ARGV begins with: consumer, jobs of a user at once, lease in ms, attempts.
 */
export const COMMON = `
local STREAM, GROUP, ASIDE = '${STREAM}', '${GROUP}', '${ASIDE}'
local LEASES, READY, TURN = '${LEASES}', 'runner:ready', 'runner:turn'
local DAY, WEEK, MAX_BYTES = 86400, 604800, 1048576
local FINAL = { success = true, failed = true, cancelled = true }
local call, pcall_redis = redis.call, redis.pcall
local me, limit, lease_ms, max_attempts = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local position = 4
local function take() position = position + 1; return ARGV[position] end
local time = call('TIME')
local at = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function text(number) return string.format('%.0f', number) end
local now = text(at)
local function type_of(key) return call('TYPE', key).ok end
local good = {}
-- For a key of ours: what is there of another type is of no use to anybody, and goes.
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
local function done_with(entry)
  pcall_redis('XACK', STREAM, GROUP, entry)
  pcall_redis('XDEL', STREAM, entry)
end
local counts = {}
local function tell_count(user) call('SET', 'runner:user:' .. user .. ':running', counts[user], 'EX', DAY) end
-- How many of the user's jobs run.
local function count(user)
  if counts[user] then return counts[user] end
  local gone = own('ZREMRANGEBYSCORE', holders(user), '-inf', now)
  counts[user] = call('ZCARD', holders(user))
  if gone > 0 then tell_count(user) end
  return counts[user]
end
local function hold(user, job)
  count(user)
  counts[user] = counts[user] + call('ZADD', holders(user), text(at + lease_ms), job)
  tell_count(user)
end
local function make_ready(user)
  if count(user) >= limit or own('ZCARD', waiting(user)) == 0 or own('ZSCORE', READY, user) then return end
  call('ZADD', READY, own('INCR', TURN), user)
end
local function release(user, job)
  count(user)
  counts[user] = counts[user] - call('ZREM', holders(user), job)
  tell_count(user)
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
local function problem_with(fields)
  for _, name in ipairs({ 'job_id', 'user_id', 'provider_id', 'repo_url', 'prompt' }) do
    if not fields[name] then return 'The entry has no ' .. name .. '.' end
    if fields[name] == '' then return 'The ' .. name .. ' of the entry is empty.' end
  end
  local bytes = 0
  for name, value in pairs(fields) do bytes = bytes + #name + #value end
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
-- Puts an entry where it waits for its user's turn; may come again and again.
local function shelve(entry, list)
  local fields = fields_of(list)
  local problem = problem_with(fields)
  if problem then return set_aside(entry, fields, problem) end
  own('ZADD', waiting(fields.user_id), 'NX', string.match(entry, '^%d+'), entry .. '|' .. fields.job_id)
  make_ready(fields.user_id)
end
local function shelve_by_id(entry)
  local found = call('XRANGE', STREAM, entry, entry)[1]
  if found then shelve(entry, found[2]) else call('XACK', STREAM, GROUP, entry) end
end
-- Whoever ran these is dead or was asleep for too long: nothing it says counts any more.
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
      -- Its entry was trimmed or deleted, so nobody would ever find it.
      local list = {}
      for _, name in ipairs({ 'user_id', 'provider_id', 'repo_url', 'prompt', 'environment' }) do
        list[#list + 1] = name
        list[#list + 1] = call('HGET', 'job:' .. job, name) or ''
      end
      call('XADD', STREAM, '*', 'job_id', job, unpack(list))
    end
  end
end
local function owns(job, token) return own('HGET', lease_of(job), 'token') == token end
`;

/** Also: how many to begin at most, whose process this is, then entries that were read already. */
export const TAKE = `
local instance
local NAMES = { 'user_id', 'provider_id', 'repo_url', 'branch', 'prompt', 'environment' }
local NEEDED = { user_id = MAX_BYTES, provider_id = 256, repo_url = MAX_BYTES, prompt = MAX_BYTES }
local function start(user, entry, job)
  local key = 'job:' .. job
  local function refuse(reason) set_aside(entry, { job_id = job, user_id = user }, reason) end
  local reply = pcall_redis('HMGET', key, 'status', unpack(NAMES))
  if reply.err then return refuse(key .. ' is a ' .. type_of(key) .. ', not a hash.') end
  local status = reply[1]
  if FINAL[status or ''] then return done_with(entry) end
  -- Comes again once it has been idle for long enough, when that one has ended or died.
  if is_held(job) then return end
  if status ~= 'pending' and status ~= 'running' then
    if call('EXISTS', key) == 0 then return refuse('There is no hash ' .. key .. '.') end
    return refuse('The status in ' .. key .. ' is none.')
  end
  for index, name in ipairs(NAMES) do
    local value = reply[index + 1] or ''
    if NEEDED[name] and value == '' then return refuse(key .. ' has no ' .. name .. '.') end
    if #value > (NEEDED[name] or 4096) then return refuse('The ' .. name .. ' in ' .. key .. ' is too large.') end
  end
  if reply[2] ~= user then return refuse('The user_id of the entry is not that of ' .. key .. '.') end
  if string.match(reply[3], '[%s%c:]') then return refuse('The provider_id in ' .. key .. ' is malformed.') end
  local lease = lease_of(job)
  local attempts = own('HINCRBY', lease, 'attempts', 1)
  if attempts > max_attempts then
    call('DEL', lease)
    return refuse('It was begun ' .. max_attempts .. ' times, and each time its runner died.')
  end
  local token = instance .. ':' .. now .. ':' .. attempts
  call('HSET', lease, 'token', token, 'user', user, 'entry', entry)
  call('ZADD', LEASES, text(at + lease_ms), job)
  hold(user, job)
  call('HSET', key, 'status', 'running', 'started_at', now)
  local started = { job, entry, token, tostring(attempts) }
  for index = 1, #NAMES do started[4 + index] = reply[1 + index] or '' end
  return started
end
local function start_next_of(user)
  for _ = 1, 64 do
    local member = own('ZRANGE', waiting(user), 0, 0)[1]
    if not member then return end
    call('ZREM', waiting(user), member)
    local entry, job = string.match(member, '^([^|]*)|(.*)$')
    local started = entry and start(user, entry, job)
    if started then return started end
  end
end
local budget = 256
-- One by one, so that a few huge entries are not in memory at once.
local function read_one()
  if budget == 0 then return false end
  budget = budget - 1
  local reply = call('XREADGROUP', 'GROUP', GROUP, me, 'COUNT', 1, 'STREAMS', STREAM, '>')
  if not reply then return false end
  local entry, list = unpack(reply[1][2][1])
  if list then shelve(entry, list) end
  return true
end
local started = {}
local function begin_up_to(wanted)
  end_leases()
  -- A few more than can begin: else the surplus of a few users would be all that anybody ever sees.
  for _ = 1, wanted > 0 and wanted + 1 or 0 do
    if not read_one() then break end
  end
  while #started < wanted do
    local user = own('ZRANGE', READY, 0, 0)[1]
    if user then
      call('ZREM', READY, user)
      if count(user) < limit then started[#started + 1] = start_next_of(user) end
      make_ready(user)
    elseif not read_one() then
      break
    end
  end
end
local function begun() return { started, asides, budget == 0 and 1 or 0 } end
`;
