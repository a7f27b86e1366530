-- The dialogs of answered calls in redis or valkey, and when each call has to end (docs/design/ending-calls.md).
--
-- ARGV: prefix of all keys; JSON list of operations, each a name and its arguments. Returns one value per operation.
-- <prefix>dialog:<call id> is a hash. Of each dialog, by its line's tag: <tag>: facts that do not change; <tag>/<party>: the highest CSeq
-- number seen of this party; <tag>/<party>/contact: its newest Contact. /why: why the call is being ended.
-- <prefix>deadlines is a sorted set: call ids by the time, epoch seconds, at which somebody has to end them.

local DIALOG, DEADLINES = ARGV[1] .. "dialog:", ARGV[1] .. "deadlines"
local KEPT_S = 90000 -- longer than any call may last
local EARLY_S = 300 -- what comes before the answer: longer than any line may ring
local LEASE_S = 40 -- who claimed a call has so long to end it, longer than a BYE may take (RFC 3261 timer F)

local now = tonumber(redis.call("TIME")[1])
local run = {}

local function raise(key, field, number)
    if tonumber(redis.call("HGET", key, field) or 0) < number then redis.call("HSET", key, field, number) end
end

function run.connected(id, tag, facts, cseq, deadline)
    redis.call("HSET", DIALOG .. id, tag, facts)
    raise(DIALOG .. id, tag .. "/caller", cseq)
    redis.call("EXPIRE", DIALOG .. id, KEPT_S)
    if deadline > 0 then redis.call("ZADD", DEADLINES, "NX", deadline, id) end
    return ""
end

function run.changed(id, tag, party, cseq, contact)
    local key = DIALOG .. id
    if cseq > 0 then raise(key, tag .. "/" .. party, cseq) end
    if contact ~= "" then redis.call("HSET", key, tag .. "/" .. party .. "/contact", contact) end
    if redis.call("TTL", key) < EARLY_S then redis.call("EXPIRE", key, EARLY_S) end
    return ""
end

function run.ended(id, tag)
    local key = DIALOG .. id
    redis.call("HDEL", key, tag, tag .. "/caller", tag .. "/line", tag .. "/caller/contact", tag .. "/line/contact")
    for _, field in ipairs(redis.call("HKEYS", key)) do
        if not string.find(field, "/", 1, true) then return "" end
    end
    redis.call("DEL", key)
    redis.call("ZREM", DEADLINES, id)
    return ""
end

-- Take it upon oneself to end a call: all that is known of it, or nothing if it is not known.
function run.claim(id, why)
    local key = DIALOG .. id
    if redis.call("EXISTS", key) == 0 then
        redis.call("ZREM", DEADLINES, id)
        return {}
    end
    redis.call("HSETNX", key, "/why", why)
    redis.call("ZADD", DEADLINES, now + LEASE_S, id)
    return redis.call("HGETALL", key)
end

-- The same for calls that are due: pairs of id and what is known.
function run.due(limit, why)
    local claimed = {}
    for _, id in ipairs(redis.call("ZRANGEBYSCORE", DEADLINES, "-inf", now, "LIMIT", 0, limit)) do
        table.insert(claimed, {id, run.claim(id, why)})
    end
    return claimed
end

local results = {}
for _, operation in ipairs(cjson.decode(ARGV[2])) do
    table.insert(results, run[operation[1]](unpack(operation, 2)))
end
return results
