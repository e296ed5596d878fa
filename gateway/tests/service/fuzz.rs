//! Requests that are changed at random, against the gateway as a process of its own: nothing is its fault, and nothing
//! stays in its memory.

use std::net::SocketAddr;
use std::time::Duration;

use testbed::{fuzz, hostile};

use crate::process::{folder, job, lines, settings};
use crate::support::alerts::{EVENT, PROMETHEUS, about_deployment, alert, pod_event, webhook};
use crate::support::{policy, test, wait_for};

/// What may stay of caches and of the allocator's own, in MiB.
const MORE_MAX_MIB: u64 = 48;

fn assert_no_fault(answer: &hostile::Answer, sent: &[u8]) {
    assert!((200..500).contains(&answer.status), "{answer}");
    assert!(hostile::inside(&answer.text(), sent).is_none(), "{answer}");
}

#[test]
fn no_change_of_a_request_is_the_gateways_fault_or_stays_in_memory() {
    test(async |world| {
        let (_guard, dir) = folder();
        let log = dir.join("gateway.log");
        let patient = settings(&world, &policy(), "")
            .replace("namespace:", "call_deadline_ms: 30000, request_deadline_ms: 60000, namespace:");
        let process = job(&dir, &patient).deadline(Duration::from_secs(4 * 3600));
        let mut daemon = process.log(&log).daemon().unwrap();
        let started = wait_for("the gateway to serve", async || {
            daemon.check().unwrap();
            lines(&log).into_iter().find(|line| line["message"] == "serving")
        })
        .await;
        let address: SocketAddr = started["api"].as_str().unwrap().parse().unwrap();
        let resident_mib = || testbed::resident_mib(daemon.pid()).unwrap();
        let post = |path: &str, body: &[u8]| {
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
                world.token,
                body.len()
            );
            [head.as_bytes(), body].concat()
        };
        let check = |request: &[u8]| assert_no_fault(&hostile::ask(address, request).unwrap(), request);

        let about =
            |name| alert(&[("namespace", &world.namespace), ("pod", name), ("node", "n"), ("exported_pod", name)]);
        let (one, several) =
            (about_deployment(&world.namespace, "web").to_string(), webhook(&[about("a"), about("b")]).to_string());
        let event = pod_event(&world.namespace, "web").to_string();
        // The largest that there are, so that what the allocator keeps of them is there before.
        for _ in 0..20 {
            check(&post(PROMETHEUS, &vec![b' '; 4 * 1024 * 1024]));
            check(&post(EVENT, &vec![b' '; 256 * 1024]));
            check(&post(PROMETHEUS, several.as_bytes()));
        }
        let before_mib = resident_mib();
        fuzz::run("webhooks by HTTP", 200, &[&one, &several], |body| check(&post(PROMETHEUS, body)));
        fuzz::run("Events by HTTP", 200, &[&event], |body| check(&post(EVENT, body)));
        let whole = String::from_utf8(post(PROMETHEUS, b"{}")).unwrap();
        let chunked =
            whole.replace("content-length: 2", "transfer-encoding: chunked").replace("{}", "2;a=b\r\n{}\r\n0\r\n\r\n");
        let dated =
            whole.replace("host: x", "host: x\r\nx-timestamp: 1764240000\r\nexpect: 100-continue\r\norigin: null");
        fuzz::run("bytes", 100, &[&whole, &chunked, &dated], |bytes| {
            if let Some(answer) = hostile::provoke(address, bytes).unwrap().filter(|answer| answer.status != 100) {
                assert_no_fault(&answer, bytes);
            }
        });
        let after_mib = resident_mib();
        println!("resident: {before_mib} MiB before, {after_mib} MiB after");
        assert!(after_mib <= before_mib + MORE_MAX_MIB, "it grew from {before_mib} to {after_mib} MiB");
        check(&post(PROMETHEUS, one.as_bytes()));
    });
}
