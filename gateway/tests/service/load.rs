//! More than usual: large groups, many senders, senders that say nothing.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::process::{folder, job, lines, settings};
use crate::support::alerts::{PROMETHEUS, about_deployment, alert, at, webhook};
use crate::support::{Answer, World, policy, test, wait_for};

fn group(world: &World, count: usize) -> Value {
    let about = |n| alert(&[("namespace", world.namespace.as_str()), ("deployment", &format!("web-{n}"))]);
    webhook(&(0..count).map(about).collect::<Vec<_>>())
}

/// A request of which only this much comes.
async fn half_a_head(address: std::net::SocketAddr, filling: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("POST {PROMETHEUS} HTTP/1.1\r\nhost: x\r\nx-filling: {}", "x".repeat(filling));
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[test]
fn three_hundred_groups_at_once_are_three_hundred_requests() {
    test(async |world| {
        let gateway = world.gateway().await;
        let webhooks: Vec<_> =
            (0..300).map(|number| about_deployment(&world.namespace, &format!("web-{number}"))).collect();
        let mut left: Vec<&Value> = webhooks.iter().collect();
        // As an Alertmanager does: what is answered 5xx comes again, and nothing else.
        while !left.is_empty() {
            let answers = join_all(left.iter().map(|webhook| gateway.prometheus(webhook))).await;
            let unexpected = answers.iter().find(|answer| !matches!(answer.status, 201 | 202 | 503));
            assert!(unexpected.is_none(), "{unexpected:?}");
            left =
                left.into_iter().zip(&answers).filter(|(_, a)| a.status == 503).map(|(webhook, _)| webhook).collect();
        }
        assert_eq!(world.requests().await.len(), 300);
    });
}

#[test]
fn a_large_group_goes_on_where_the_last_try_ended() {
    test(async |world| {
        let short = |config: &mut gateway::Config| config.kubernetes.request_deadline_ms = 400;
        let gateway = world.gateway_with(short).await;
        let group = group(&world, 300);
        let mut done = 0;
        let mut tries = 0;
        let answer = loop {
            let answer = gateway.prometheus(&group).await;
            tries += 1;
            assert!(matches!(answer.status, 207 | 503), "{answer:?}");
            let settled = 300 - answer.body["summary"]["failed"].as_u64().unwrap();
            // On a busy machine a try may come no further; what was done stays done.
            assert!(settled >= done, "try {tries} came to {settled}, the one before to {done}");
            assert!(tries < 300, "after {tries} tries {done} of 300 are done");
            done = settled;
            if answer.status == 207 {
                break answer;
            }
        };
        assert!(tries > 1, "the deadline must cut the group off");
        let summary = &answer.body["summary"];
        assert_eq!((&summary["total"], &summary["failed"]), (&json!(300), &json!(0)));
        let requests = world.requests().await;
        assert_eq!(requests.len(), 300);
        let counts = requests.into_iter().map(|one| one.status.unwrap().deduplication.unwrap().occurrence_count);
        // Those that were being worked on when a try ended may be counted by the next one too; no others.
        assert!(counts.sum::<i64>() <= 300 + 16 * (tries - 1), "what was done was done again");
        // It was delivered: when it comes again, everything is counted once more.
        gateway.prometheus(&group).await;
        wait_for("the next delivery to be counted", async || {
            let requests = world.requests().await;
            let counted = |one: &api::RemediationRequest| {
                one.status.as_ref().and_then(|status| status.deduplication.as_ref()).map(|d| d.occurrence_count)
            };
            requests.iter().any(|one| counted(one) >= Some(2)).then_some(())
        })
        .await;
    });
}

#[test]
fn who_says_nothing_keeps_nobody_out_and_no_end_off() {
    test(async |world| {
        let gateway = world.gateway_with(|config| config.server.max_connections = 4).await;
        let address = gateway.gateway.api_address();
        let mut silent = Vec::new();
        for _ in 0..8 {
            silent.push(half_a_head(address, 10).await);
        }
        gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(201);
        wait_for("silent connections to be closed", async || {
            let ended = silent.iter_mut().filter(|stream| {
                let mut byte = [0];
                stream.try_read(&mut byte).is_ok_and(|read| read == 0)
            });
            (ended.count() > 0).then_some(())
        })
        .await;
        let started = Instant::now();
        gateway.gateway.shutdown().await;
        assert!(started.elapsed() < Duration::from_secs(5), "the end took {:?}", started.elapsed());
    });
}

#[test]
fn memory_stays_below_the_pods_limit() {
    test(async |world| {
        let (_guard, dir) = folder();
        let log = dir.join("gateway.log");
        let process = job(&dir, &settings(&world, &policy(), "")).deadline(Duration::from_secs(120));

        let mut daemon = process.log(&log).daemon().unwrap();
        let started = wait_for("the gateway to serve", async || {
            daemon.check().unwrap();
            lines(&log).into_iter().find(|line| line["message"] == "serving")
        })
        .await;
        let address = |key: &str| started[key].as_str().unwrap().parse::<std::net::SocketAddr>().unwrap();
        let (api, metrics) = (address("api"), address("metrics"));
        let http = reqwest::Client::new();
        let resident_mib = async || {
            let text = http.get(format!("http://{metrics}/metrics")).send().await.unwrap().text().await.unwrap();
            let bytes = text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes ")).unwrap();
            bytes.parse::<f64>().unwrap() / 1024.0 / 1024.0
        };
        let send = async |body: String| {
            let request = http.post(format!("http://{api}{PROMETHEUS}")).bearer_auth(&world.token).body(body);
            Answer::read(request.send().await.unwrap()).await
        };
        let below = async |what: &str| {
            let found = resident_mib().await;
            println!("{what}: {found:.0} MiB");
            assert!(found < 200.0, "{what}: {found} MiB");
        };

        // Empty alerts that common labels make valid, beside annotations that are common to all.
        let with = |count: usize| {
            let common = json!({"alertname": "A", "namespace": world.namespace, "pod": "p"});
            json!({"status": "firing", "commonLabels": common, "commonAnnotations": {"a": "x".repeat(120_000)},
                   "alerts": vec![json!({"startsAt": at(-1)}); count]})
        };
        send(with(40_000).to_string()).await.expect(413);
        below("40,000 empty alerts").await;
        let answers = join_all((0..4).map(|_| send(with(2_000).to_string()))).await;
        assert!(answers.iter().all(|answer| matches!(answer.status, 207 | 503)), "{:?}", answers[0].status);
        below("four times 2,000 empty alerts").await;

        let mut heads = Vec::new();
        for _ in 0..700 {
            heads.push(half_a_head(api, 30_000).await);
        }
        below("700 unfinished heads").await;
        drop(heads);

        // The largest bodies, all at once, each with one alert among much that is left out.
        let filling = "x".repeat(4 * 1024 * 1024 - 2_000);
        let largest = |n: usize| {
            let mut body = about_deployment(&world.namespace, &format!("web-{n}"));
            body["filling"] = json!(filling);
            body.to_string()
        };
        let answers = join_all((0..40).map(|n| send(largest(n)))).await;
        assert!(answers.iter().all(|answer| matches!(answer.status, 201 | 503)), "{:?}", answers[0]);
        below("forty of the largest bodies").await;
        let mut stream = half_a_head(api, 100_000).await;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 431");
    });
}
