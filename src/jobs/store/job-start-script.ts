/** The part of the scripts that starts jobs: it reads new entries, then starts one job of each user in turn. */

export const START_JOBS = `
local instance
local NAMES = { 'user_id', 'provider_id', 'repo_url', 'branch', 'prompt', 'environment' }
local NEEDED = { user_id = MAX_BYTES, provider_id = 256, repo_url = MAX_BYTES, prompt = MAX_BYTES }
local function start(user, entry, job)
  local key = 'job:' .. job
  local function refuse(reason) set_aside(entry, { job_id = job, user_id = user }, reason) end
  local reply = pcall_redis('HMGET', key, 'status', unpack(NAMES))
  if reply.err then return refuse(key .. ' is a ' .. type_of(key) .. ', not a hash.') end
  local status = reply[1]
  if FINAL[status or ''] then
    -- Cancelled before its turn.
    call('HSETNX', key, 'finished_at', now)
    return done_with(entry)
  end
  local lease = lease_of(job)
  local held, attempts = unpack(own('HMGET', lease, 'token', 'attempts'))
  -- Another worker has it. The entry comes again when it has been idle for long enough.
  if held and is_held(job) then return end
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
  attempts = tonumber(attempts or 0) + 1
  if attempts > max_attempts then
    call('DEL', lease)
    return refuse('It was started ' .. max_attempts .. ' times, and each time its runner died.')
  end
  local token = instance .. ':' .. now .. ':' .. attempts
  call('HSET', lease, 'token', token, 'user', user, 'entry', entry, 'attempts', attempts)
  call('ZADD', LEASES, lease_end, job)
  hold(user, job)
  call('HSET', key, 'status', 'running', 'started_at', now)
  local started = { job, entry, token, tostring(attempts) }
  for index = 1, #NAMES do started[4 + index] = reply[1 + index] or '' end
  return started
end
local function start_next_of(user)
  for _ = 1, 64 do
    local member = own('ZPOPMIN', waiting(user))[1]
    if not member then return end
    local entry, job = string.match(member, '^([^|]*)|(.*)$')
    local started = entry and start(user, entry, job)
    if started then return started end
  end
end
local budget = 256
-- Reads all entries that nobody has read, up to the budget, because a user's turn comes only when the entry is known.
-- Reads a few at a time, so that few huge entries are in memory at once.
local function read()
  while budget > 0 do
    local reply = call('XREADGROUP', 'GROUP', GROUP, me, 'COUNT', 8, 'STREAMS', STREAM, '>')
    local found = reply and reply[1][2] or {}
    for _, item in ipairs(found) do
      if item[2] then shelve(item[1], item[2]) end
    end
    if #found < 8 then break end
    budget = budget - 8
  end
end
local started = {}
local function start_up_to(wanted)
  end_leases()
  if wanted > 0 then read() end
  while #started < wanted do
    line_up()
    local next = own('ZPOPMIN', READY, wanted - #started)
    for index = 1, #next, 2 do
      local user = next[index]
      if count(user) < limit then started[#started + 1] = start_next_of(user) end
      make_ready(user)
    end
    if #next == 0 then break end
  end
end
local function result() return { started, asides, budget == 0 and 1 or 0 } end
`;
