//! How the service speaks HTTP: errors, headers, limits.

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stand::{BATCH, Client, EVENTS, answer, event, shared, unique};

#[test]
fn a_problem_has_every_member_and_the_request_id_of_the_header() {
    let stand = shared();
    stand.run(async {
        let refused = stand.client.post_bytes(EVENTS, "{").await;
        assert_eq!(refused.status, 400);
        assert_eq!(refused.headers["content-type"], "application/problem+json");
        for member in ["type", "title", "detail", "instance", "request_id"] {
            assert!(refused.body[member].is_string(), "{member}: {refused:?}");
        }
        assert!(refused.body["type"].as_str().unwrap().starts_with("https://kubernaut.ai/problems/"));
        assert_eq!(refused.body["status"], 400);
        assert_eq!(refused.body["instance"], EVENTS);
        assert_eq!(refused.body["request_id"], refused.headers["x-request-id"].to_str().unwrap());
        let again = stand.client.get(EVENTS).await;
        assert_ne!(again.headers["x-request-id"], refused.headers["x-request-id"], "each request has its own id");
    });
}

#[test]
fn unknown_paths_and_wrong_methods() {
    let stand = shared();
    stand.run(async {
        let answer_of = async |method, path| answer(stand.client.request(method, path)).await.unwrap();
        let unknown = answer_of(Method::GET, "/api/v1/audit").await;
        assert_eq!((unknown.status, &unknown.body["status"]), (404, &json!(404)));
        let wrong = answer_of(Method::DELETE, EVENTS).await;
        assert_eq!((wrong.status, &wrong.body["status"]), (405, &json!(405)));
        let allow = wrong.headers["allow"].to_str().unwrap();
        assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
        assert_eq!(answer_of(Method::GET, BATCH).await.status, 405);
    });
}

#[test]
fn only_json_is_read_and_a_missing_content_type_passes() {
    let stand = shared();
    stand.run(async {
        let body = event(&unique("kind")).to_string();
        for (kind, status) in [
            (Some("text/plain"), 415),
            (Some("application/jsonp"), 415),
            (Some("application/json"), 201),
            (Some("Application/JSON; charset=utf-8"), 201),
            (None, 201),
        ] {
            let mut request = stand.client.request(Method::POST, EVENTS).body(body.clone());
            if let Some(kind) = kind {
                request = request.header("content-type", kind);
            }
            let answer = answer(request).await.unwrap();
            assert_eq!(answer.status, status, "{kind:?}: {answer:?}");
        }
    });
}

#[test]
fn a_body_that_is_too_large_is_refused() {
    let stand = shared();
    stand.run(async {
        let large = " ".repeat(2 * 1024 * 1024 + 1);
        let refused = stand.client.post_bytes(EVENTS, large).await;
        assert_eq!((refused.status, &refused.body["status"]), (413, &json!(413)));
        assert_eq!(stand.client.post_bytes(EVENTS, " ".repeat(2 * 1024 * 1024)).await.status, 400);
    });
}

#[test]
fn an_event_that_reads_like_an_answer_does_not_become_one() {
    let stand = shared();
    stand.run(async {
        let name = unique("answer");
        let mut sent = event(&name);
        // Wherever a part of a page begins, one of them begins there or a few bytes further.
        sent["event_data"]["text"] = json!("HTTP/1.1 400 ".repeat(120_000));
        assert_eq!(stand.client.post(EVENTS, &sent).await.status, 201);
        let read = stand.client.get(&format!("{EVENTS}?correlation_id={name}")).await;
        assert_eq!(read.status, 200);
        assert_eq!(read.body["data"][0]["event_data"], sent["event_data"]);
    });
}

#[test]
fn more_requests_than_allowed_are_told_to_come_back() {
    let stand = shared();
    stand.run(async {
        let mut config = stand.servers.config();
        config.http.max_in_flight = 1;
        // Longer than a page takes: else the request that is to keep the place may be refused itself.
        config.http.place_deadline_ms = 2_000;
        let service = datastorage::Service::start(config).await.unwrap();
        let client = Client::of(&service);
        client.wait_until_up("postgres").await;
        // A request whose body does not come keeps its place.
        let mut slow = TcpStream::connect(service.api).await.unwrap();
        let head = format!("POST {EVENTS} HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n");
        slow.write_all(head.as_bytes()).await.unwrap();
        crate::stand::wait_for("503", async || {
            let refused = client.get(EVENTS).await;
            refused.status == 503 && refused.headers["retry-after"] == "1" && refused.body["status"] == 503
        })
        .await;
        slow.write_all(b"hello").await.unwrap();
        let mut begin = [0; 12];
        slow.read_exact(&mut begin).await.unwrap();
        assert_eq!(&begin, b"HTTP/1.1 400");
        assert_eq!(client.get(EVENTS).await.status, 200, "its place is free again");
        service.stop().await;
    });
}

#[test]
fn what_is_no_request_is_answered_with_a_problem_and_many_connections_keep_nobody_out() {
    let stand = shared();
    stand.run(async {
        let mut config = stand.servers.config();
        config.http.max_connections = 4;
        let service = datastorage::Service::start(config).await.unwrap();
        let client = Client::of(&service);
        client.wait_until_up("postgres").await;
        // Heads that never end.
        let mut idle = Vec::new();
        for _ in 0..12 {
            let mut stream = TcpStream::connect(service.api).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
            idle.push(stream);
        }
        assert_eq!(client.get(EVENTS).await.status, 200);
        let mut stream = TcpStream::connect(service.api).await.unwrap();
        stream.write_all(b"what is this?\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("application/problem+json"), "{answer}");
        service.stop().await;
    });
}

#[test]
fn bodies_wait_for_room_and_a_batch_of_a_million_items_is_refused() {
    let stand = shared();
    stand.run(async {
        let mut config = stand.servers.config();
        config.http.max_body_bytes_in_flight = config.http.max_body_bytes;
        config.http.place_deadline_ms = 50;
        let service = datastorage::Service::start(config).await.unwrap();
        let client = Client::of(&service);
        client.wait_until_up("postgres").await;
        let mut slow = TcpStream::connect(service.api).await.unwrap();
        let head = format!("POST {EVENTS} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", 2 * 1024 * 1024);
        slow.write_all(head.as_bytes()).await.unwrap();
        let name = unique("room");
        crate::stand::wait_for("503", async || client.post(EVENTS, &event(&name)).await.status == 503).await;
        drop(slow);
        crate::stand::wait_for("room", async || client.post(EVENTS, &event(&name)).await.status == 201).await;
        let million = format!("[{}1]", "1,".repeat(1_000_000));
        let refused = client.post_bytes(BATCH, million).await;
        let detail = refused.body["detail"].as_str().unwrap_or_default();
        assert!(refused.status == 400 && detail.contains("1000001"), "{refused:?}");
        service.stop().await;
    });
}

#[test]
fn metrics_tell_of_queue_events_and_latency_in_both_forms() {
    let stand = shared();
    stand.run(async {
        let service = datastorage::Service::start(stand.servers.config()).await.unwrap();
        let client = Client::of(&service);
        client.wait_until_up("postgres").await;
        client.wait_until_up("redis").await;
        assert_eq!(client.post(EVENTS, &event(&unique("metrics"))).await.status, 201);
        let ask = async |accept: &str| {
            let request = reqwest::Client::new().get(format!("http://{}/metrics", service.metrics));
            request.header("accept", accept).send().await.unwrap().text().await.unwrap()
        };
        let plain = ask("text/plain").await;
        for line in [
            "# TYPE datastorage_events_total counter",
            "datastorage_events_total{answer=\"stored\"} 1",
            "datastorage_postgresql_up 1.0",
            "datastorage_redis_up 1.0",
            "datastorage_queue_events 0.0",
            "datastorage_queue_bytes 0.0",
            "datastorage_queue_oldest_age_seconds 0.0",
            "datastorage_dead_letters 0.0",
            "datastorage_queue_events_written_total 0",
            "# TYPE datastorage_write_failures_total counter",
            "datastorage_http_request_duration_seconds_count{endpoint=\"/api/v1/audit/events\",method=\"POST\",status=\"201\"} 1",
        ] {
            assert!(plain.lines().any(|found| found == line), "no line {line} in\n{plain}");
        }
        assert!(!plain.contains("# EOF") && plain.contains("process_resident_memory_bytes "), "{plain}");
        assert!(ask("application/openmetrics-text;version=1.0.0").await.ends_with("# EOF\n"));
        service.stop().await;
    });
}
