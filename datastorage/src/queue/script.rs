//! What Redis does in one go. Each script is atomic, and on disk when it is answered.

use redis::Cmd;

use super::{BYTES, DEAD_LETTERS, GROUP, STREAM, TRIES};

/// A script in which `size` tells what an entry's fields take, with what Redis adds to each.
macro_rules! script {
    ($body:literal) => {
        concat!(
            "local function size(fields)
    local bytes = 128
    for i = 1, #fields do bytes = bytes + #fields[i] end
    return bytes
end
",
            $body
        )
    };
}

/// Adds all events or none, and none when queue and dead letters would grow beyond their limit.
const PUSH: &str = script!(
    "local bytes = 0
for i = 2, #ARGV do bytes = bytes + size({'event', ARGV[i]}) end
if tonumber(redis.call('GET', KEYS[2]) or '0') + bytes > tonumber(ARGV[1]) then
    return redis.error_reply('FULL the queue has reached its limit')
end
for i = 2, #ARGV do redis.call('XADD', KEYS[1], '*', 'event', ARGV[i]) end
redis.call('INCRBY', KEYS[2], bytes)
return #ARGV - 1"
);

/// Reads entries one by one until they take so much.
const TAKE: &str = script!(
    "local entries, bytes, after = {}, 0, ARGV[3]
while #entries < tonumber(ARGV[4]) and bytes < tonumber(ARGV[5]) do
    local read = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', 1, 'STREAMS', KEYS[1], after)
    local entry = read and read[1] and read[1][2][1]
    if not entry then break end
    entries[#entries + 1] = entry
    if entry[2] then bytes = bytes + size(entry[2]) end
    if after ~= '>' then after = entry[1] end
end
return entries"
);

/// Takes over those of the entries that are idle still, one by one until they take so much.
const CLAIM: &str = script!(
    "local entries, bytes = {}, 0
for i = 5, #ARGV do
    if bytes >= tonumber(ARGV[4]) then break end
    local entry = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[i])[1]
    if entry then
        entries[#entries + 1] = entry
        bytes = bytes + size(entry[2])
    end
end
return entries"
);

/// Removes entries for good.
const SETTLE: &str = script!(
    "local bytes = 0
for i = 2, #ARGV do
    local entry = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
    redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
    redis.call('XDEL', KEYS[1], ARGV[i])
    redis.call('HDEL', KEYS[3], ARGV[i])
    if entry then bytes = bytes + size(entry[2]) end
end
if bytes > 0 and redis.call('DECRBY', KEYS[2], bytes) < 0 then redis.call('SET', KEYS[2], 0) end
return redis.status_reply('OK')"
);

/// Moves an entry, as it is, to the dead letters; does nothing if another replica has settled it.
const BURY: &str = script!(
    "if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
local entry = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
local fields = entry and entry[2] or {}
local bytes = entry and size(fields) or 0
for i = 3, #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('XADD', KEYS[2], '*', unpack(fields))
redis.call('XDEL', KEYS[1], ARGV[2])
redis.call('HDEL', KEYS[3], ARGV[2])
redis.call('INCRBY', KEYS[4], size(fields) - bytes)
return 1"
);

/// Finds out what queue and dead letters take.
const MEASURE: &str = script!(
    "local bytes = 0
for i = 1, 2 do
    local after = '-'
    while true do
        local entries = redis.call('XRANGE', KEYS[i], after, '+', 'COUNT', 4)
        if #entries == 0 then break end
        for _, entry in ipairs(entries) do bytes = bytes + size(entry[2]) end
        after = '(' .. entries[#entries][1]
    end
end
redis.call('SET', KEYS[3], bytes)
return redis.status_reply('OK')"
);

/// Forgets consumers that have nothing pending and were not seen for an hour: each new pod brings a name.
const TIDY: &str = "
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local of = {}
    for i = 1, #consumer, 2 do of[consumer[i]] = consumer[i + 1] end
    if of['pending'] == 0 and of['idle'] > 3600000 then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], of['name'])
    end
end
return redis.status_reply('OK')";

/// How many entries are queued and dead, what they take, and for how many milliseconds the oldest has waited.
const LOOK: &str = "
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local now = redis.call('TIME')
local age = 0
if oldest then age = now[1] * 1000 + math.floor(now[2] / 1000) - tonumber(string.match(oldest[1], '^%d+')) end
return {redis.call('XLEN', KEYS[1]), redis.call('XLEN', KEYS[2]), tonumber(redis.call('GET', KEYS[3]) or '0'), age}";

fn eval(script: &str, keys: &[&str]) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(script).arg(keys.len()).arg(keys);
    command
}

pub(super) fn push(max_bytes: u64, events: &[String]) -> Cmd {
    let mut command = eval(PUSH, &[STREAM, BYTES]);
    command.arg(max_bytes).arg(events);
    command
}

pub(super) fn take(consumer: &str, after: &str, count: usize, bytes: usize) -> Cmd {
    let mut command = eval(TAKE, &[STREAM]);
    command.arg(GROUP).arg(consumer).arg(after).arg(count).arg(bytes);
    command
}

pub(super) fn claim(consumer: &str, idle_ms: u64, bytes: usize, ids: &[&String]) -> Cmd {
    let mut command = eval(CLAIM, &[STREAM]);
    command.arg(GROUP).arg(consumer).arg(idle_ms).arg(bytes).arg(ids);
    command
}

pub(super) fn settle(ids: &[String]) -> Cmd {
    let mut command = eval(SETTLE, &[STREAM, BYTES, TRIES]);
    command.arg(GROUP).arg(ids);
    command
}

pub(super) fn bury(id: &str, reason: &str, tries: u32) -> Cmd {
    let mut command = eval(BURY, &[STREAM, DEAD_LETTERS, TRIES, BYTES]);
    command.arg(GROUP).arg(id).arg("reason").arg(reason).arg("tries").arg(tries).arg("entry").arg(id);
    command.arg("moved_at").arg(jiff::Timestamp::now().to_string());
    command
}

pub(super) fn measure() -> Cmd {
    eval(MEASURE, &[STREAM, DEAD_LETTERS, BYTES])
}

pub(super) fn tidy() -> Cmd {
    let mut command = eval(TIDY, &[STREAM]);
    command.arg(GROUP);
    command
}

pub(super) fn look() -> Cmd {
    eval(LOOK, &[STREAM, DEAD_LETTERS, BYTES])
}
