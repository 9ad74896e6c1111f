"""Counting in Redis, for several processes together: one question for each request, which one script answers."""

from hashlib import sha1
from typing import Any

from redis.exceptions import NoScriptError

from app.rate_limit.counters import Count
from app.rate_limit.policies import Policy
from app.redis import Connection, RedisUnavailable, Server
from app.settings import project

# The same as in memory, by the clock of the server. Microseconds, because Redis returns whole numbers.
SCRIPT = """
local requests, period = tonumber(ARGV[1]), tonumber(ARGV[2]) * 1000000
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local elapsed = now % period
local window = (now - elapsed) / period

local function read(key)
  local kept = redis.call('HMGET', key, 'window', 'current', 'previous')
  return tonumber(kept[1]), tonumber(kept[2]) or 0, tonumber(kept[3]) or 0
end

if KEYS[2] then
  local counted = tonumber(ARGV[3])
  local at, current, previous = read(KEYS[2])
  if at == counted and current > 0 then
    redis.call('HINCRBY', KEYS[2], 'current', -1)
  elseif at == counted + 1 and previous > 0 then
    redis.call('HINCRBY', KEYS[2], 'previous', -1)
  end
end

local at, current, previous = read(KEYS[1])
if at == window - 1 then
  current, previous = 0, current
elseif at ~= window then
  current, previous = 0, 0
end
local passed = previous * (1 - elapsed / period) + current + 1 <= requests
if passed then
  current = current + 1
  redis.call('HSET', KEYS[1], 'window', window, 'current', current, 'previous', previous)
  redis.call('PEXPIRE', KEYS[1], 2 * period / 1000)
end
return {passed and 1 or 0, window, previous, current, elapsed}
"""


# Its name in Redis.
DIGEST = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


class RedisCounters:
    """While the server is gone nothing is counted, and everybody is let in."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.prefix = f"{project().name}:rate_limit:"

    async def count(self, policy: Policy, bucket: str, *, instead_of: Count | None = None) -> Count | None:
        keys = [f"{self.prefix}{policy.name}:{bucket}"]
        arguments = [policy.requests, policy.seconds]
        if instead_of is not None:
            keys.append(f"{self.prefix}{instead_of.policy.name}:{instead_of.bucket}")
            arguments.append(instead_of.window)

        async def run(redis: Connection) -> Any:  # as Redis has it
            try:
                return await redis.send("EVALSHA", DIGEST, len(keys), *keys, *arguments)
            except NoScriptError:  # it has restarted; this leaves the script there
                return await redis.send("EVAL", SCRIPT, len(keys), *keys, *arguments)

        try:
            passed, window, previous, current, elapsed = await self.server.ask(run)
        except RedisUnavailable:
            return None
        return Count(policy, bucket, passed == 1, window, previous, current, elapsed / 1_000_000)
