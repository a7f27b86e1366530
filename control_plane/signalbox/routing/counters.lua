-- Live counts in redis or valkey: one run settles any number of claims, reports and returns, in their order, atomically.
--
-- ARGV: JSON list of prefix of all keys, ms a call may take until it is answered, ms an answered call may last, ms that media of
-- a call prove its life, s that the line is remembered which served a caller; JSON list of operations.
-- Returns one line of text per operation. docs/design/live-counts.md has the keys, routing/counters_script.py both formats.

local prefix, SETUP_MS, CALL_MS, MEDIA_MS, STICKY_S = unpack(cjson.decode(ARGV[1]))
local operations = cjson.decode(ARGV[2])

local OVER_MS = 120000 -- a refusal is given again for so long
local ENDED_MS = 120000 -- so long nothing can be taken for a call that has ended
local UNKNOWN_MS = 300000 -- so long the answer or the end of a call is known that is counted later; counters.OWED_S is as long
local CALLS_S = math.ceil(math.max(SETUP_MS, CALL_MS, MEDIA_MS) / 1000) + 60
local MONTH_S = 70 * 86400
local TURN_S = 30 * 86400
local ENDED, ANSWERED = "ended", "answered "

-- Replicas compare with redis' own clock alone.
local time = redis.call("TIME")
local second = time[1]
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local CALL, CALLS, TURN = prefix .. "call:", prefix .. "calls:", prefix .. "turn:"
local RETURNED, RECENT, STICKY = prefix .. "returned:", prefix .. "recent:", prefix .. "sticky:"

-- A call's record. t: tenant; a: the line that answered ("": a worker), until others are called; e: end of its lease, ms; p: by part the answer and how many wait for it (none for a refusal); c, l: names of limits and lines
-- that it holds; o: counters that counted it, by key; w: {key, turn} taken; r: {order, key, lines} to tell who answered.
-- Returns the record if there is one, true if the call has ended, and who answered if that is all that is known.
local function load(id)
    local raw = redis.call("GET", CALL .. id)
    if not raw then return nil, false end
    if raw == ENDED then return nil, true end
    if raw:sub(1, #ANSWERED) == ANSWERED then return nil, false, raw:sub(#ANSWERED + 1) end
    return cmsgpack.unpack(raw), false
end

-- Kept while the lease lasts, or for longer.
local function save(id, record, kept_ms)
    redis.call("SET", CALL .. id, cmsgpack.pack(record), "PX", kept_ms or math.max(1, record.e - now))
end

-- Sets of calls whose end was put off in this run, and that are not empty: once is enough.
local put_off = {}

local function hold(name, id, record)
    local key = CALLS .. name
    redis.call("ZADD", key, record.e, id)
    if not put_off[key] then
        redis.call("EXPIRE", key, CALLS_S)
        put_off[key] = true
    end
end

local function free(names, id)
    for name in pairs(names) do
        local key = CALLS .. name
        redis.call("ZREM", key, id)
        put_off[key] = nil
    end
end

-- The lease of a call ends then, earlier or later than before, for all that it holds.
local function renew(id, record, lease_end)
    record.e = lease_end
    for name in pairs(record.c) do hold(name, id, record) end
    for name in pairs(record.l) do hold(name, id, record) end
end

-- Calls under a name. Leases that have ended are looked for only if they could matter.
local function calls(name, most)
    local key = CALLS .. name
    local count = redis.call("ZCARD", key)
    if count > 0 and count >= most then
        redis.call("ZREMRANGEBYSCORE", key, "-inf", now)
        put_off[key] = nil
        count = redis.call("ZCARD", key)
    end
    return count
end

local function counter(limit)
    if limit[2] == "second" then return prefix .. "second:" .. limit[1] .. ":" .. second end
    return prefix .. "month:" .. limit[1] .. ":" .. limit[4]
end

local function counted(limit, record, most)
    if limit[2] == "calls" then
        local count = calls(limit[1], most)
        return record.c[limit[1]] and count - 1 or count
    end
    local key = counter(limit)
    local count = tonumber(redis.call("GET", key) or 0)
    return record.o[key] and count - 1 or count
end

-- What is counted once is counted; what is held is noted, and held with the next renewal.
local function take_limits(limits, record)
    for _, limit in ipairs(limits) do
        if limit[2] == "calls" then
            record.c[limit[1]] = true
        else
            local key = counter(limit)
            if not record.o[key] then
                record.o[key] = true
                if redis.call("INCR", key) == 1 then
                    redis.call("EXPIRE", key, limit[2] == "second" and 2 or MONTH_S)
                end
            end
        end
    end
end

-- The turn of a dial. One that was given back is taken first: so the lines' counts still differ by at most one.
local function turn(key, record, taking)
    if not taking then
        return tonumber(redis.call("LINDEX", RETURNED .. key, 0) or redis.call("GET", TURN .. key) or 0)
    end
    local number = redis.call("LPOP", RETURNED .. key)
    if not number then
        number = redis.call("INCR", TURN .. key) - 1
        if number % 64 == 0 then redis.call("EXPIRE", TURN .. key, TURN_S) end
    end
    record.w[#record.w + 1] = {key, tonumber(number)}
    return tonumber(number)
end

-- Moves a line behind all others of its record. A number that grows, and no time: two in one millisecond have an order too.
local function mark_recent(key, line)
    redis.call("HSET", RECENT .. key, line, redis.call("HINCRBY", RECENT .. key, "#", 1))
    redis.call("EXPIRE", RECENT .. key, TURN_S)
end

-- Positions of a dial's lines from 1, in the order to try them.
local function in_order(dial, record, taking)
    local lines, kind, key = dial[1], dial[3], dial[4]
    local count, first, order = #lines, 0, {}
    if kind == "turn" then
        first = turn(key, record, taking) % count
    elseif kind == "sticky" then
        local served = redis.call("GET", STICKY .. key)
        for at, line in ipairs(lines) do
            if line == served then
                order[1] = at
                for other = 1, count do
                    if other ~= at then order[#order + 1] = other end
                end
                return order
            end
        end
    end
    for step = 0, count - 1 do order[step + 1] = (first + step) % count + 1 end
    if kind == "least_recent" then
        local marks = redis.call("HMGET", RECENT .. key, unpack(lines))
        for at = 1, count do marks[at] = tonumber(marks[at] or 0) end
        table.sort(order, function(a, b)
            if marks[a] ~= marks[b] then return marks[a] < marks[b] end
            return a < b
        end)
    end
    return order
end

-- Settles one dial: its free lines in their order, as text. Who takes has let go of its lines before and holds the new ones after.
local function settle_dial(dial, record, taking)
    local lines, caps, kind, key, takes, most = dial[1], dial[2], dial[3], dial[4], dial[5], dial[6]
    local found, names = {}, {}
    if type(lines) == "number" then
        local first = turn(key, record, taking) % lines
        for step = 0, math.min(lines, most) - 1 do found[step + 1] = (first + step) % lines end
        return table.concat(found, ",") .. ";"
    end
    for _, at in ipairs(in_order(dial, record, taking)) do
        local line, cap = lines[at], caps[at]
        local own = not taking and record.l[line] and 1 or 0
        if cap == 0 or calls(line, cap) - own < cap then
            found[#found + 1], names[#names + 1] = at - 1, line
            if taking and #found <= takes then
                if cap > 0 then record.l[line] = true end
                if kind == "least_recent" then mark_recent(key, line) end
            end
            if #found == most then break end
        end
    end
    if taking and (kind == "least_recent" or kind == "sticky") then record.r[#record.r + 1] = {kind, key, names} end
    return table.concat(found, ",") .. ";"
end

local function settle_dials(dials, id, record, taking)
    local answers = {}
    if taking then
        free(record.l, id)
        record.l = {}
    end
    for position, dial in ipairs(dials) do answers[position] = settle_dial(dial, record, taking) end
    return table.concat(answers)
end

-- Of a call that is not known, or of which only is known who answered.
local function new_record(tenant, answered)
    return {t = tenant, a = answered, e = answered and now + CALL_MS or 0, p = {}, c = {}, l = {}, o = {}, w = {}, r = {}}
end

-- Of all lines the call holds this one alone from now on.
local function serve(id, record, line)
    record.a = line
    if line == "" then return end
    local name = "line/" .. record.t .. "/" .. line
    for _, order in ipairs(record.r) do
        for _, candidate in ipairs(order[3]) do
            if candidate == name then
                if order[1] == "sticky" then
                    redis.call("SET", STICKY .. order[2], name, "EX", STICKY_S)
                else
                    mark_recent(order[2], name)
                end
            end
        end
    end
    record.l[name] = nil
    free(record.l, id)
    record.l = {[name] = true}
end

local function granted(answer)
    return answer:sub(1, 2) == "-1"
end

-- Nothing is taken: for explanations, and for calls that have ended.
local function look(id, tenant, limits, dials, record)
    record = record or new_record(tenant)
    local over, counts = -1, {}
    for position, limit in ipairs(limits) do
        counts[position] = counted(limit, record, 0)
        if over < 0 and counts[position] >= limit[3] then over = position - 1 end
    end
    local order = over < 0 and settle_dials(dials, id, record, false) or ""
    return over .. "|" .. order .. "|" .. table.concat(counts, ",")
end

local run = {}

-- {"look", call id, part, tenant, limits, dials}
function run.look(_, id, _, tenant, limits, dials)
    return look(id, tenant, limits, dials, (load(id)))
end

-- {"claim", call id, part, tenant, limits, dials}; limits {name, window, most, period}, dials {lines, caps, order, key, takes, most}.
-- Of lines in turn that all take any number of calls only their number is told.
function run.claim(_, id, part, tenant, limits, dials)
    local record, ended, answered = load(id)
    if ended then
        -- What the caller was told before is not known any more, and nobody waits for it.
        return "-1|" .. settle_dials(dials, id, new_record(tenant), false)
    end
    record = record or new_record(tenant, answered)
    local known = record.p[part]
    if known then
        if granted(known[1]) then
            known[2] = known[2] + 1
            save(id, record)
        end
        return known[1]
    end
    for position, limit in ipairs(limits) do
        local mine = limit[2] == "calls" and record.c[limit[1]] or record.o[counter(limit)]
        if not mine and counted(limit, record, limit[3]) >= limit[3] then
            local answer = (position - 1) .. "|"
            record.p[part] = {answer, 0}
            record.e = math.max(record.e, now + OVER_MS)
            save(id, record)
            return answer
        end
    end
    take_limits(limits, record)
    local answer = "-1|" .. settle_dials(dials, id, record, true)
    record.a = nil
    record.p[part] = {answer, 1}
    renew(id, record, math.max(record.e, now + SETUP_MS))
    save(id, record)
    return answer
end

-- {"count", call id, part, tenant, limits, dials, answer}: afterwards what went on uncounted with this answer, whatever the limits are now.
-- Another replica may have been told meanwhile who answered: that holds.
function run.count(_, id, part, tenant, limits, dials, answer)
    local record, ended, answered = load(id)
    if ended then return "" end
    record = record or new_record(tenant, answered)
    take_limits(limits, record)
    free(record.l, id)
    record.l = {}
    local position = 0
    for order in string.gmatch(answer:sub(4), "([^;]*);") do
        position = position + 1
        local dial, names = dials[position], {}
        if dial and type(dial[1]) == "table" then
            for at in string.gmatch(order, "%d+") do
                local line = dial[1][at + 1]
                names[#names + 1] = line
                if #names <= dial[5] and dial[2][at + 1] > 0 then record.l[line] = true end
            end
            if dial[3] == "least_recent" or dial[3] == "sticky" then
                record.r[#record.r + 1] = {dial[3], dial[4], names}
            end
        end
    end
    if record.a then serve(id, record, record.a) end
    record.p[part] = {answer, 1}
    renew(id, record, math.max(record.e, now + SETUP_MS))
    save(id, record)
    return ""
end

-- {"return", call id, part}: the answer came too late and nobody else waits for one of this call.
run["return"] = function(_, id, part)
    local record = load(id)
    local known, waiting = record and record.p[part], 0
    if not known or not granted(known[1]) then return "" end
    known[2] = math.max(0, known[2] - 1)
    for _, other in pairs(record.p) do waiting = waiting + other[2] end
    if waiting > 0 then
        save(id, record)
        return ""
    end
    free(record.c, id)
    free(record.l, id)
    for key in pairs(record.o) do
        if tonumber(redis.call("GET", key) or 0) > 0 then redis.call("DECR", key) end
    end
    for _, taken in ipairs(record.w) do
        redis.call("RPUSH", RETURNED .. taken[1], taken[2])
        redis.call("EXPIRE", RETURNED .. taken[1], TURN_S)
    end
    redis.call("DEL", CALL .. id)
    return ""
end

-- {"answered", call id, line id}. Of a call that is not counted it is noted: a replica that was cut off counts it later.
function run.answered(_, id, line)
    local record, ended = load(id)
    if ended then return "" end
    if not record then
        redis.call("SET", CALL .. id, ANSWERED .. line, "PX", UNKNOWN_MS)
        return ""
    end
    serve(id, record, line)
    renew(id, record, now + CALL_MS)
    save(id, record)
    return ""
end

-- {"alive", call id}. The record is kept when the lease is over: a later report holds again what was free for lack of one.
function run.alive(_, id)
    local record = load(id)
    if record then
        renew(id, record, now + MEDIA_MS)
        save(id, record, CALL_MS)
    end
    return ""
end

-- {"ended", call id}
function run.ended(_, id)
    local record, ended = load(id)
    if ended then return "" end
    if record then
        free(record.c, id)
        free(record.l, id)
    end
    -- Who waits in a queue (queues.lua) and hangs up makes room at once.
    local queue = redis.call("GET", prefix .. "queued:" .. id)
    if queue then
        redis.call("ZREM", prefix .. "waiting:" .. queue, id)
        redis.call("ZREM", prefix .. "asked:" .. queue, id)
        redis.call("DEL", prefix .. "queued:" .. id)
    end
    redis.call("SET", CALL .. id, ENDED, "PX", record and ENDED_MS or UNKNOWN_MS)
    return ""
end

-- {"probe"}: can this server be written to?
function run.probe()
    redis.call("SET", prefix .. "probe", "", "EX", 60)
    return ""
end

local answers = {}
for position, operation in ipairs(operations) do answers[position] = run[operation[1]](unpack(operation)) end
return table.concat(answers, "\n")
