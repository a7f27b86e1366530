-- Callers who wait, in redis or valkey: their places in queues. One run does any number of operations, atomically.
--
-- ARGV: prefix of all keys; JSON list of operations: ["wait", queue, call, rank, most] or ["leave", queue, call].
-- Returns one line of text per operation: place from 1 on, "full", or "gone". docs/rules/flows.md says what a queue is,
-- docs/design/queues.md why.

local prefix = ARGV[1]
local STALE_MS = 15000 -- a worker asks again every 2 s: who is silent for so long has gone
local KEPT_S = 60

-- Replicas compare with redis' own clock alone.
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local operate = {}

function operate.wait(waiting, asked, queue, call, rank, most)
    for _, gone in ipairs(redis.call("ZRANGEBYSCORE", asked, "-inf", now - STALE_MS)) do
        redis.call("ZREM", waiting, gone)
        redis.call("ZREM", asked, gone)
    end
    if not redis.call("ZSCORE", waiting, call) then
        if redis.call("ZCARD", waiting) >= most then return "full" end
        redis.call("ZADD", waiting, rank, call)
    end
    redis.call("ZADD", asked, now, call)
    -- By this the end of a call takes it out of its queue (counters.lua).
    redis.call("SET", prefix .. "queued:" .. call, queue, "PX", STALE_MS)
    redis.call("EXPIRE", waiting, KEPT_S)
    redis.call("EXPIRE", asked, KEPT_S)
    return tostring(redis.call("ZRANK", waiting, call) + 1)
end

function operate.leave(waiting, asked, _, call)
    redis.call("DEL", prefix .. "queued:" .. call)
    redis.call("ZREM", waiting, call)
    redis.call("ZREM", asked, call)
    return "gone"
end

local lines = {}
for at, operation in ipairs(cjson.decode(ARGV[2])) do
    local name, queue = operation[1], operation[2]
    lines[at] = operate[name](prefix .. "waiting:" .. queue, prefix .. "asked:" .. queue, unpack(operation, 2))
end
return table.concat(lines, "\n")
