//! Statuses, problems, headers, CORS.

use std::collections::HashSet;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::alerts::{EVENT, PROMETHEUS, about_deployment, alert, webhook};
use crate::support::{Answer, Running, test};

pub(crate) const SECURITY: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("strict-transport-security", "max-age=31536000; includeSubDomains"),
    ("content-security-policy", "default-src 'none'"),
    ("referrer-policy", "no-referrer"),
];

fn assert_headers(answer: &Answer) {
    for (name, value) in SECURITY {
        assert_eq!(answer.header(name), value, "{name} of {answer:?}");
    }
    let id = answer.header("x-request-id");
    assert!(uuid::Uuid::parse_str(id).is_ok_and(|id| id.get_version_num() == 4), "{id:?}");
}

fn assert_problem(answer: &Answer, status: u16, slug: &str, title: &str, path: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.text("type"), format!("https://kubernaut.ai/problems/{slug}"));
    assert_eq!(answer.text("title"), title);
    assert_eq!(answer.body["status"], status);
    assert_eq!(answer.text("instance"), path);
    assert_eq!(answer.text("request_id"), answer.header("x-request-id"));
    assert!(!answer.text("detail").is_empty());
    assert_eq!(answer.body.as_object().unwrap().len(), 6, "nothing but the members: {:#}", answer.body);
    assert_headers(answer);
}

async fn post(gateway: &Running, path: &str, body: impl Into<reqwest::Body>) -> Answer {
    Answer::read(gateway.post(path, body).send().await.unwrap()).await
}

#[test]
fn bodies_that_are_no_signal() {
    test(async |world| {
        let gateway = world.gateway().await;
        for body in
            ["", "{", "{}", "null", "[]", "\"x\"", r#"{"alerts":[]}"#, "\u{feff}{}", "{\"alerts\":[{\"labels\":{}}]}"]
        {
            for path in [PROMETHEUS, EVENT] {
                let answer = post(&gateway, path, body).await;
                assert_problem(&answer, 400, "validation-error", "Bad Request", path);
            }
        }
        let answer = post(&gateway, PROMETHEUS, vec![0xff, 0xfe, 0x00]).await;
        assert_problem(&answer, 400, "validation-error", "Bad Request", PROMETHEUS);
        let deep = "[".repeat(100_000);
        let answer = post(&gateway, PROMETHEUS, format!("{{\"alerts\":{deep}")).await;
        assert_problem(&answer, 400, "validation-error", "Bad Request", PROMETHEUS);
        assert_eq!(world.requests().await.len(), 0);
    });
}

#[test]
fn paths_and_methods() {
    test(async |world| {
        let gateway = world.gateway().await;
        for path in
            ["/", "/api/v1/signals", "/api/v1/signals/datadog", "/api/v1/signals/prometheus/", "/metrics", "/healthz"]
        {
            let answer = post(&gateway, path, "{}").await;
            assert_problem(&answer, 404, "not-found", "Not Found", path);
        }
        for path in [PROMETHEUS, EVENT] {
            for method in
                [reqwest::Method::GET, reqwest::Method::PUT, reqwest::Method::DELETE, reqwest::Method::OPTIONS]
            {
                let answer = gateway.http.request(method, gateway.url(path)).send().await.unwrap();
                let answer = Answer::read(answer).await;
                assert_problem(&answer, 405, "method-not-allowed", "Method Not Allowed", path);
                assert_eq!(answer.header("allow"), "POST");
            }
        }
    });
}

#[test]
fn bodies_that_are_too_large() {
    test(async |world| {
        let gateway = world.gateway().await;
        for (path, limit) in [(PROMETHEUS, 4 * 1024 * 1024), (EVENT, 256 * 1024)] {
            let answer = post(&gateway, path, " ".repeat(limit + 1)).await;
            assert_problem(&answer, 413, "payload-too-large", "Payload Too Large", path);
        }
        // One that does not say how long it is.
        let mut stream = begin(&gateway, "transfer-encoding: chunked").await;
        for _ in 0..=4 * 1024 * 1024 / 65_536 {
            stream.write_all(format!("10000\r\n{}\r\n", " ".repeat(65_536)).as_bytes()).await.unwrap();
        }
        assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 413 "));
        let mut largest = about_deployment(&world.namespace, "web").to_string();
        largest.push_str(&" ".repeat(4 * 1024 * 1024 - largest.len()));
        post(&gateway, PROMETHEUS, largest).await.expect(201);
        let mut filled = alert(&[("namespace", &world.namespace), ("deployment", "filled")]);
        filled["annotations"]["filling"] = "x".repeat(256 * 1024 - 1500).into();
        gateway.prometheus(&webhook(&[filled.clone()])).await.expect(201);
        filled["annotations"]["filling"] = "x".repeat(256 * 1024).into();
        gateway.prometheus(&webhook(&[filled.clone()])).await.expect(413);
        let other = alert(&[("namespace", &world.namespace), ("deployment", "other")]);
        let answer = gateway.prometheus(&webhook(&[filled, other])).await.expect(207);
        assert_eq!((&answer.body["summary"]["created"], &answer.body["summary"]["failed"]), (&1.into(), &1.into()));
    });
}

#[test]
fn a_body_that_breaks_off_is_malformed_and_not_too_large() {
    test(async |world| {
        let gateway = world.gateway().await;
        let mut stream = begin(&gateway, "transfer-encoding: chunked").await;
        stream.write_all(b"5\r\n{\"ale\r\nnonsense\r\n").await.unwrap();
        assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 400 "));
    });
}

/// A request whose head is sent, and whose body the test writes.
async fn begin(gateway: &Running, length: &str) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.gateway.api_address()).await.unwrap();
    let head =
        format!("POST {PROMETHEUS} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n{length}\r\n\r\n", gateway.token);
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn a_body_that_does_not_come_is_given_up() {
    test(async |world| {
        let gateway = world.gateway_with(|config| config.server.body_deadline_ms = 100).await;
        let mut stream = begin(&gateway, "content-length: 100").await;
        stream.write_all(b"{\"alerts\":").await.unwrap();
        assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 503 "), "an Alertmanager must send it again");
    });
}

#[test]
fn what_is_no_request_is_refused_like_everything_else() {
    test(async |world| {
        let gateway = world.gateway().await;
        let long = "x".repeat(70_000);
        let many: String = (0..300).map(|n| format!("x-{n}: y\r\n")).collect();
        for (head, status) in [
            ("nonsense\r\n\r\n".to_owned(), 400),
            (format!("POST {PROMETHEUS} HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n"), 400),
            (format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"), 431),
            (format!("POST {PROMETHEUS} HTTP/1.1\r\nhost: x\r\nx: {long}\r\n\r\n"), 431),
            (format!("POST {PROMETHEUS} HTTP/1.1\r\nhost: x\r\n{many}\r\n"), 431),
            (format!("POST {PROMETHEUS} HTTP/1.1\r\n\r\n"), 400),
        ] {
            let mut stream = TcpStream::connect(gateway.gateway.api_address()).await.unwrap();
            // The gateway may have closed already.
            let _ = stream.write_all(head.as_bytes()).await;
            let found = read_head(&mut stream).await.to_lowercase();
            let shown = &head[..60.min(head.len())];
            assert!(
                found.starts_with(&format!("http/1.1 {status} "))
                    || (status == 431 && found.starts_with("http/1.1 414 ")),
                "{shown}: {found}"
            );
            for (name, value) in SECURITY {
                assert!(
                    found.contains(&format!("\r\n{name}: {}\r\n", value.to_lowercase())),
                    "{name} for {shown}: {found}"
                );
            }
            let length = found.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert!(body["type"].as_str().unwrap().starts_with("https://kubernaut.ai/problems/"), "{body}");
            assert!(found.contains(body["request_id"].as_str().unwrap()), "{found} {body}");
        }
    });
}

#[test]
fn content_types() {
    test(async |world| {
        let gateway = world.gateway().await;
        let send = async |content_type: Option<&str>| {
            let body = about_deployment(&world.namespace, "web").to_string();
            let mut request = gateway.http.post(gateway.url(PROMETHEUS)).bearer_auth(&world.token).body(body);
            if let Some(value) = content_type {
                request = request.header("content-type", value);
            }
            Answer::read(request.send().await.unwrap()).await
        };
        for content_type in
            ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "", "text/plain; application/json"]
        {
            let answer = send(Some(content_type)).await;
            assert_problem(&answer, 415, "unsupported-media-type", "Unsupported Media Type", PROMETHEUS);
        }
        assert_eq!(send(None).await.status, 201, "a missing one passes");
        for content_type in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
            assert_eq!(send(Some(content_type)).await.status, 202, "{content_type}");
        }
    });
}

#[test]
fn every_answer_has_the_headers_and_an_id_of_its_own() {
    test(async |world| {
        let gateway = world.gateway().await;
        let metrics = format!("http://{}/metrics", gateway.gateway.metrics_address());
        let mut answers = vec![
            gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(201),
            gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(202),
            gateway.health("/healthz").await.expect(200),
            gateway.health("/readyz").await.expect(200),
            gateway.health("/nothing").await.expect(404),
            Answer::read(gateway.http.get(metrics).send().await.unwrap()).await.expect(200),
        ];
        let named = gateway.post(PROMETHEUS, "{").header("x-request-id", "mine").send().await.unwrap();
        answers.push(Answer::read(named).await.expect(400));
        answers.iter().for_each(assert_headers);
        let ids: HashSet<&str> = answers.iter().map(|answer| answer.header("x-request-id")).collect();
        assert_eq!(ids.len(), answers.len(), "no id twice, and none of the sender's");
    });
}

#[test]
fn cross_origin_requests_by_configuration() {
    test(async |world| {
        let origin = "https://console.example.com";
        let gateway = world
            .gateway_with(|config| {
                config.cors.allowed_origins = vec![origin.to_owned()];
                config.cors.allowed_methods = vec!["POST".to_owned()];
                config.cors.allowed_headers = vec!["authorization".to_owned(), "content-type".to_owned()];
                config.cors.max_age_seconds = 77;
            })
            .await;
        let preflight = async |origin: &str| {
            let request = gateway.http.request(reqwest::Method::OPTIONS, gateway.url(PROMETHEUS));
            let request = request.header("origin", origin).header("access-control-request-method", "POST");
            Answer::read(request.header("access-control-request-headers", "authorization").send().await.unwrap()).await
        };
        let answer = preflight(origin).await.expect(200);
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        assert_eq!(answer.header("access-control-allow-methods"), "POST");
        assert_eq!(answer.header("access-control-allow-headers"), "authorization,content-type");
        assert_eq!(answer.header("access-control-max-age"), "77");
        assert_headers(&answer);
        let options = async |path: &str| {
            let request = gateway.http.request(reqwest::Method::OPTIONS, gateway.url(path));
            Answer::read(request.send().await.unwrap()).await
        };
        assert_problem(&options("/nothing").await, 404, "not-found", "Not Found", "/nothing");
        let answer = options(PROMETHEUS).await;
        assert_problem(&answer, 405, "method-not-allowed", "Method Not Allowed", PROMETHEUS);
        assert_eq!(answer.header("allow"), "POST");
        assert_eq!(preflight("https://elsewhere.example.com").await.header("access-control-allow-origin"), "");
        let body = about_deployment(&world.namespace, "web").to_string();
        let answer = Answer::read(gateway.post(PROMETHEUS, body).header("origin", origin).send().await.unwrap()).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (201, origin));
        let answer = Answer::read(gateway.post(PROMETHEUS, "{").header("origin", origin).send().await.unwrap()).await;
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin")),
            (400, origin),
            "a page may read its errors"
        );
    });
}
