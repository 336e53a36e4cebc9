/** The scripts that Redis runs, each as one step that no other command comes between. */

import { createHash } from 'node:crypto';
import { DIGITS } from './keys.ts';

export interface Script {
  lua: string;
  sha1: string;
}

function script(lua: string): Script {
  return { lua, sha1: createHash('sha1').update(lua).digest('hex') };
}

/** Redis' own clock in ms: leases end by one clock, whatever those of the workers say. */
const NOW = `
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local function text(number) return string.format('%.0f', number) end
`;

/**
 * Writes all or nothing: only before the deadline, if there is one, and when every check still holds, and every key is of the type that its command needs, as
 * an error in the middle would not undo what came before. Numbers of new runs and deliveries are given out here, so that
 * they have no gaps and the order of the commits. Out of memory is refused by Redis at the first write.
 * A granted lease gets a token above all others; from the clock, so that it stays so after a loss of the counter.
 */
export const COMMIT = script(`${NOW}
local position = 0
local function take() position = position + 1; return ARGV[position] end
local function take_all()
  local all = {}
  for index = 1, tonumber(take()) do all[index] = take() end
  return all
end
local deadline = take()
if deadline ~= '' and now() > tonumber(deadline) then return {'late', ''} end
for _ = 1, tonumber(take()) do
  local operator, expected, command = take(), take(), take_all()
  local found = redis.call(unpack(command))
  local holds
  if operator == 'is' then holds = found ~= false and tostring(found) == expected
  elseif operator == 'absent' then holds = found == false
  else holds = tonumber(found) < tonumber(expected) end
  if not holds then return {operator == 'below' and 'full' or 'conflict', tostring(found)} end
end
local types = {
  HSET = 'hash', HDEL = 'hash', HINCRBY = 'hash', HSETNX = 'hash', SADD = 'set', SREM = 'set',
  ZADD = 'zset', ZREM = 'zset', XADD = 'stream', SET = 'string',
}
local numbers, given = ARGV[#ARGV], {}
local function number(name)
  given[name] = given[name] or tonumber(redis.call('HGET', numbers, name) or '0') + 1
  return given[name]
end
local function filled(word)
  if string.sub(word, 1, 8) ~= '\\0number:' then return word end
  if word == '\\0number:run' then return text(number('runs')) end
  if word == '\\0number:delivery' then return text(number('deliveries')) end
  return string.format('%0${DIGITS}.0f', number('runs')) .. string.sub(word, 12)
end
local writes, seen = {}, {}
for index = 1, tonumber(take()) do
  local command = take_all()
  local wanted = types[command[1]]
  if wanted and not seen[command[2]] then
    local found = redis.call('TYPE', command[2]).ok
    if found ~= 'none' and found ~= wanted then
      return redis.error_reply('WRONGTYPE ' .. command[2] .. ' is a ' .. found .. ', not a ' .. wanted)
    end
    seen[command[2]] = true
  end
  for place = 2, #command do command[place] = filled(command[place]) end
  writes[index] = command
end
local lease = take_all()
for _, command in ipairs(writes) do redis.call(unpack(command)) end
for name, value in pairs(given) do redis.call('HSET', numbers, name, text(value)) end
if #lease == 0 then return {'committed', '0'} end
local run, id, owner, lease_ms, leases, counter = unpack(lease)
local at = now()
local token = math.max(at, tonumber(redis.call('GET', counter) or '0') + 1)
redis.call('SET', counter, text(token))
redis.call('HSET', run, 'token', text(token), 'owner', owner, 'expires', text(at + tonumber(lease_ms)))
redis.call('ZADD', leases, text(at + tonumber(lease_ms)), id)
return {'committed', text(token)}
`);

/** ARGV: run, leases, id, token, ms. 0 when the lease is somebody else's or nobody's. */
export const RENEW = script(`${NOW}
local run, leases, id, token, lease_ms = unpack(ARGV)
if redis.call('HGET', run, 'token') ~= token then return 0 end
local expires = text(now() + tonumber(lease_ms))
redis.call('HSET', run, 'expires', expires)
redis.call('ZADD', leases, expires, id)
return 1
`);

/**
 * The queued run of a free group that comes first, by priority and then by age. ARGV: prefix, time of the caller, kinds and
 * labels and tools as JSON objects of true, '' for any, and the worker's name. Hops from group to group, so that a long queue
 * costs nothing. A run with a home was approved: it keeps its place, so its group waits until somebody may take it, and
 * it is left to its home for a while.
 */
export const NEXT = script(`
local prefix, at = ARGV[1], tonumber(ARGV[2])
local kinds, labels = cjson.decode(ARGV[3]), ARGV[4] ~= '' and cjson.decode(ARGV[4])
local tools, name = ARGV[5] ~= '' and cjson.decode(ARGV[5]), ARGV[6]
local best, best_id, best_score
local function has_labels(needed)
  if labels and needed ~= '[]' then
    for _, label in ipairs(cjson.decode(needed)) do
      if not labels[label] then return false end
    end
  end
  return true
end
local function fits(id)
  local run = prefix .. 'run:' .. id
  local kind, not_before, needed, tool, home, home_until =
    unpack(redis.call('HMGET', run, 'kind', 'notBefore', 'labels', 'tool', 'home', 'homeUntil'))
  if not kind or not kinds[kind] then return false end
  local not_now = tonumber(not_before) > at or (tools and tool and not tools[tool]) or not has_labels(needed)
  if home then return not not_now and (home == name or at >= tonumber(home_until)) or 'elsewhere' end
  return not not_now
end
for _, group in ipairs(redis.call('SMEMBERS', prefix .. 'groups')) do
  local queue = prefix .. 'queue:' .. group
  if redis.call('EXISTS', queue) == 0 then
    redis.call('SREM', prefix .. 'groups', group)
  elseif redis.call('HEXISTS', prefix .. 'held', group) == 0 then
    local from, searching = 0, true
    while searching do
      local page = redis.call('ZRANGE', queue, from, from + 19, 'WITHSCORES')
      if #page == 0 then break end
      for index = 1, #page, 2 do
        local member, score = page[index], tonumber(page[index + 1])
        if best and (score > best_score or (score == best_score and member > best)) then
          searching = false
          break
        end
        local id = string.sub(member, ${DIGITS + 4})
        local answer = fits(id)
        if answer then
          if answer == true then best, best_id, best_score = member, id, score end
          searching = false
          break
        end
      end
      from = from + 20
    end
  end
end
return best_id
`);

/** ARGV: leases. The runs whose lease has ended. */
export const EXPIRED = script(`${NOW}
return redis.call('ZRANGEBYSCORE', ARGV[1], '-inf', '(' .. text(now()))
`);

/**
 * ARGV: key, nonce, its end, time of the caller, how many are kept. The latest are kept longer, so that a clock that was
 * wrong for a while does not forget what was spent before.
 */
export const SPEND_NONCE = script(`
local key, nonce, expires, at, kept = unpack(ARGV)
local old = math.min(redis.call('ZCOUNT', key, '-inf', '(' .. at), redis.call('ZCARD', key) - tonumber(kept))
if old > 0 then redis.call('ZREMRANGEBYRANK', key, 0, old - 1) end
return redis.call('ZADD', key, 'NX', expires, nonce)
`);

/** ARGV: role, owner, ms. 1 when the role is the owner's from now on. */
export const HOLD = script(`
local role, owner, lease_ms = unpack(ARGV)
if redis.call('GET', role) == owner then return redis.call('PEXPIRE', role, lease_ms) end
return redis.call('SET', role, owner, 'PX', lease_ms, 'NX') and 1 or 0
`);

/** ARGV: role, owner. */
export const RELEASE = script(`
if redis.call('GET', ARGV[1]) == ARGV[2] then return redis.call('DEL', ARGV[1]) end
return 0
`);
