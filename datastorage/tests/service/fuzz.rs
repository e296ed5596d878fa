//! Requests and entries of the queue that are changed at random, against the service as a process of its own: nothing is
//! its fault, nothing ends it, nothing stays in its memory.

use serde_json::json;
use testbed::{fuzz, hostile};
use tokio::runtime::Runtime;

use crate::process::Process;
use crate::stand::{BATCH, EVENTS, Servers, event, unique, wait_for};

/// What may stay of caches and of the allocator's own, in MiB.
const MORE_MAX_MIB: u64 = 48;
/// So many entries wait at most while more are added.
const IN_QUEUE_MAX: u64 = 200;

fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn assert_no_fault(answer: &hostile::Answer, sent: &[u8]) {
    assert!((200..500).contains(&answer.status), "{answer}");
    let told = if answer.status < 400 { None } else { hostile::inside(&answer.text(), sent) };
    assert!(told.is_none(), "{told:?} in {answer}");
}

#[test]
fn no_change_of_a_request_is_the_services_fault_or_stays_in_memory() {
    let (servers, runtime) = (Servers::start(), Runtime::new().unwrap());
    let mut process = Process::start(&servers);
    runtime.block_on(process.client.wait_until_up("postgres"));
    let address = process.api.parse().unwrap();
    let check = |request: &[u8]| assert_no_fault(&hostile::ask(address, request).unwrap(), request);

    let name = unique("fuzz");
    let one = event(&name).to_string();
    let batch = json!([event(&name), event(&name)]).to_string();
    let query = format!("correlation_id={name}&event_type=gateway.signal.received&since=24h&until=2025-12-01&limit=10");
    let place = "after=1764240000123456_0193a1b2c3d47e5f8a9b0c1d2e3f4a5b&limit=1000&total=exact&severity=a";
    // The largest that there are, so that what the allocator keeps of them is there before.
    for _ in 0..20 {
        check(&post(EVENTS, &vec![b' '; 2 * 1024 * 1024]));
        check(&post(BATCH, format!("[{one}{}]", format!(",{one}").repeat(499)).as_bytes()));
    }
    let before_mib = process.resident_mib();
    fuzz::run("events by HTTP", 200, &[&one], |body| check(&post(EVENTS, body)));
    fuzz::run("batches by HTTP", 100, &[&batch], |body| check(&post(BATCH, body)));
    fuzz::run("queries by HTTP", 200, &[&query, place], |query| {
        // What ends the line would be another request.
        let visible = query.iter().map(|byte| if byte.is_ascii_graphic() { *byte } else { b'%' }).take(20_000);
        let query: Vec<u8> = visible.collect();
        check(&[format!("GET {EVENTS}?").as_bytes(), &query, b" HTTP/1.1\r\nhost: x\r\n\r\n"].concat());
    });
    let whole = String::from_utf8(post(BATCH, b"[]")).unwrap();
    let chunked =
        format!("POST {BATCH} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2;a=b\r\n[]\r\n0\r\n\r\n");
    let read = format!("GET {EVENTS}?limit=1 HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n\r\n");
    fuzz::run("bytes", 100, &[&whole, &chunked, &read], |bytes| {
        if let Some(answer) = hostile::provoke(address, bytes).unwrap().filter(|answer| answer.status != 100) {
            assert_no_fault(&answer, bytes);
        }
    });
    let after_mib = process.resident_mib();
    println!("resident: {before_mib} MiB before, {after_mib} MiB after");
    assert!(after_mib <= before_mib + MORE_MAX_MIB, "it grew from {before_mib} to {after_mib} MiB");
    assert!(runtime.block_on(process.client.alive()));
    process.kill9();
}

#[test]
fn no_change_of_a_queued_entry_keeps_the_next_from_its_turn() {
    let (servers, runtime) = (Servers::start(), Runtime::new().unwrap());
    let mut process = Process::start(&servers);
    runtime.block_on(process.client.wait_until_up("postgres"));
    runtime.block_on(process.client.wait_until_up("redis"));
    let (name, last) = (unique("queued"), unique("last"));
    let entry = |name: &str| {
        let mut entry = event(name);
        entry["event_id"] = json!(uuid::Uuid::new_v4());
        entry.to_string()
    };
    let mut redis = runtime.block_on(servers.redis());
    let mut push = |json: &[u8]| {
        // Each has six tries, so that no more are there than are worked off in a moment.
        let mut length = redis::cmd("XLEN");
        length.arg(datastorage::queue::STREAM);
        runtime.block_on(wait_for("the queue to get shorter", async || {
            let length: u64 = length.query_async(&mut redis.clone()).await.unwrap();
            length < IN_QUEUE_MAX
        }));
        let mut add = redis::cmd("XADD");
        add.arg(datastorage::queue::STREAM).arg("*").arg("format").arg("1").arg("event").arg(json);
        let added: redis::RedisResult<String> = runtime.block_on(add.query_async(&mut redis));
        added.unwrap();
    };
    let before_mib = process.resident_mib();
    fuzz::run("entries in Redis", 300, &[&entry(&name)], &mut push);
    push(entry(&last).as_bytes());
    runtime.block_on(servers.wait_for_rows(&last, 1));
    let after_mib = process.resident_mib();
    println!("resident: {before_mib} MiB before, {after_mib} MiB after");
    assert!(after_mib <= before_mib + MORE_MAX_MIB, "it grew from {before_mib} to {after_mib} MiB");
    runtime.block_on(wait_for("it to be well", async || process.client.alive().await));
    process.kill9();
}
