-- The dialogs of answered calls in redis or valkey, and when each call has to end (docs/design/ending-calls.md).
--
-- ARGV: prefix of all keys; JSON list of operations, each a name and its arguments. Returns one value per claim.
-- <prefix>dialog:<call id> is a hash. Of each dialog, by its line's tag: <tag>: facts that do not change; <tag>/<party>: the highest CSeq
-- number seen of this party; <tag>/<party>/contact: its newest Contact; <tag>/node: number of the media node. /why: why the call is being ended.
-- /tries: how often somebody took it upon himself to end it. /at: number of the media node where a worker has the media of the call.
-- <prefix>deadlines is a sorted set: call ids by the time, epoch seconds, at which somebody has to end them.

local DIALOG, DEADLINES = ARGV[1] .. "dialog:", ARGV[1] .. "deadlines"
local KEPT_S = 90000 -- longer than any call may last
local EARLY_S = 300 -- what comes before the answer: longer than any line may ring
local LEASE_S = 40 -- who claimed a call has so long to end it, longer than a BYE may take (RFC 3261 timer F)

local now = tonumber(redis.call("TIME")[1])
local run = {}

local function tags(key)
    local found = {}
    for _, field in ipairs(redis.call("HKEYS", key)) do
        if not string.find(field, "/", 1, true) then found[#found + 1] = field end
    end
    return found
end

local function raise(key, field, number)
    if tonumber(redis.call("HGET", key, field) or 0) < number then redis.call("HSET", key, field, number) end
end

function run.connected(id, tag, facts, cseq, deadline, node)
    redis.call("HSET", DIALOG .. id, tag, facts, tag .. "/node", node)
    raise(DIALOG .. id, tag .. "/caller", cseq)
    redis.call("EXPIRE", DIALOG .. id, KEPT_S)
    if deadline > 0 then redis.call("ZADD", DEADLINES, "NX", deadline, id) end
end

function run.changed(id, tag, party, cseq, contact)
    local key = DIALOG .. id
    if cseq > 0 then raise(key, tag .. "/" .. party, cseq) end
    if contact ~= "" then redis.call("HSET", key, tag .. "/" .. party .. "/contact", contact) end
    if redis.call("TTL", key) < EARLY_S then redis.call("EXPIRE", key, EARLY_S) end
end

function run.ended(id, tag)
    local key = DIALOG .. id
    redis.call("HDEL", key, tag, tag .. "/node", tag .. "/caller", tag .. "/line", tag .. "/caller/contact", tag .. "/line/contact")
    if #tags(key) > 0 then return end
    redis.call("DEL", key)
    redis.call("ZREM", DEADLINES, id)
end

-- A worker has the media of a call at this node. It may be told before the call is known, and when it is over.
function run.anchored(id, node)
    local key = DIALOG .. id
    redis.call("HSET", key, "/at", node)
    if redis.call("TTL", key) < EARLY_S then redis.call("EXPIRE", key, EARLY_S) end
end

-- A media node had no media for too long: a call that was answered is due now. A node that was tried in vain while the call rang may
-- say so too, of a call that talks at another one; and one that was broken into, of any. To its proxy a call whose media a worker has is
-- at node 0.
function run.media_timeout(id, node)
    local key = DIALOG .. id
    -- Not a second time: whoever is ending it must not be given it again before its lease is over.
    if redis.call("HEXISTS", key, "/why") == 1 then return end
    local answered = tags(key)
    for _, tag in ipairs(answered) do
        local at = redis.call("HGET", key, tag .. "/node")
        if at == "0" then at = redis.call("HGET", key, "/at") end
        if at ~= node then return end
    end
    if #answered == 0 then return end
    redis.call("HSET", key, "/why", "media_timeout")
    redis.call("ZADD", DEADLINES, now, id)
end

-- It cannot be ended: nobody is given it any more.
function run.given_up(id)
    redis.call("DEL", DIALOG .. id)
    redis.call("ZREM", DEADLINES, id)
end

-- Take it upon oneself to end a call: all that is known of it, or nothing if it is not known.
function run.claim(id, why)
    local key = DIALOG .. id
    if redis.call("EXISTS", key) == 0 then
        redis.call("ZREM", DEADLINES, id)
        return {}
    end
    redis.call("HSETNX", key, "/why", why)
    redis.call("HINCRBY", key, "/tries", 1)
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
    local result = run[operation[1]](unpack(operation, 2))
    if result then table.insert(results, result) end
end
return results
