//! Headers that go with answers.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use reqwest::Method;
use reqwest::header::{
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, CONTENT_TYPE, HeaderName, ORIGIN,
};
use serde_json::json;
use uuid::Uuid;

use crate::harness::context::Context;
use crate::harness::gateway::{KUBERNETES_EVENT, PROMETHEUS};
use crate::harness::http::Answer;
use crate::harness::signals::{Alert, webhook};
use crate::harness::spec::specs;

specs!("headers":
    s25_every_answer_carries_the_security_headers,
    s26_every_answer_carries_a_fresh_request_id,
    s27_a_preflight_request_is_answered_by_configuration,
);

/// As in the gateway's ConfigMap, and not what it would be without.
const MAX_AGE_SECONDS: &str = "300";

const SECURITY_HEADERS: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("strict-transport-security", "max-age=31536000; includeSubDomains"),
    ("content-security-policy", "default-src 'none'"),
    ("referrer-policy", "no-referrer"),
];

/// Answers of as many kinds as a client can provoke.
async fn answers_of_every_kind(cx: &Context, namespace: &str) -> Result<Vec<Answer>> {
    let gateway = cx.gateway();
    let body = webhook(&[Alert::about_pod(namespace, "checkout-1")]);
    let typed = |content_type| gateway.post(PROMETHEUS).header(CONTENT_TYPE, content_type);
    let too_large = gateway.post(KUBERNETES_EVENT);
    let preflight = gateway.anonymous().request(Method::OPTIONS, PROMETHEUS);
    let preflight = preflight.header(ORIGIN, cx.surroundings().allowed_origin());
    let answers = [
        (201, gateway.webhook(&body).await?),
        (202, gateway.webhook(&body).await?),
        (400, typed("application/json").body("{".to_owned()).send().await?),
        (401, gateway.anonymous().webhook(&body).await?),
        (404, gateway.request(Method::GET, "/nowhere").send().await?),
        (405, gateway.request(Method::GET, PROMETHEUS).send().await?),
        (413, too_large.header(CONTENT_TYPE, "application/json").body(" ".repeat(300 * 1024)).send().await?),
        (415, typed("text/plain").body(body.to_string()).send().await?),
    ];
    for (status, answer) in &answers {
        answer.expect(*status, "one of the kinds of answers")?;
    }
    let mut answers: Vec<Answer> = answers.into_iter().map(|(_, answer)| answer).collect();
    answers.push(preflight.header(ACCESS_CONTROL_REQUEST_METHOD, "POST").send().await?);
    Ok(answers)
}

async fn s25_every_answer_carries_the_security_headers(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    for answer in answers_of_every_kind(&cx, &namespace).await? {
        for (name, value) in SECURITY_HEADERS {
            let found = answer.header(name).unwrap_or("none");
            ensure!(found == value, "expected the header {name}: {value}, found {found}: {answer}");
        }
    }
    Ok(())
}

async fn s26_every_answer_carries_a_fresh_request_id(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let mut answers = answers_of_every_kind(&cx, &namespace).await?;
    let gateway = cx.gateway();
    // One that the client sends is not taken over, and neither is a connection's or an alert's kept.
    let chosen = Uuid::new_v4().to_string();
    let again = [(); 10].map(|()| {
        let request = gateway.post(PROMETHEUS).header(HeaderName::from_static("x-request-id"), &chosen);
        request.json(&json!({"alerts": []})).send()
    });
    answers.extend(try_join_all(again).await?);
    let mut ids = BTreeSet::from([chosen]);
    for answer in answers {
        let id = answer.header("x-request-id").with_context(|| format!("expected an X-Request-ID: {answer}"))?;
        ensure!(id.parse::<Uuid>().is_ok(), "expected a UUID as X-Request-ID: {answer}");
        ensure!(ids.insert(id.to_owned()), "expected a fresh X-Request-ID, this one was seen before: {answer}");
    }
    Ok(())
}

async fn s27_a_preflight_request_is_answered_by_configuration(cx: Context) -> Result<()> {
    let gateway = cx.gateway().anonymous();
    let preflight = |origin: &str| {
        let request = gateway.request(Method::OPTIONS, PROMETHEUS).header(ORIGIN, origin);
        let request = request.header(ACCESS_CONTROL_REQUEST_METHOD, "POST");
        request.header(ACCESS_CONTROL_REQUEST_HEADERS, "authorization, content-type").send()
    };
    let allowed = cx.surroundings().allowed_origin();
    let answer = preflight(allowed).await?;
    ensure!([200, 204].contains(&answer.status), "expected 200 or 204 for a preflight request, but {answer}");
    let origin = answer.header("access-control-allow-origin").unwrap_or("none");
    ensure!(origin == allowed, "expected the origin {allowed} to be allowed, found {origin}: {answer}");
    let methods = answer.header("access-control-allow-methods").unwrap_or("none");
    ensure!(methods.contains("POST"), "expected POST among the allowed methods, found {methods}: {answer}");
    let headers = answer.header("access-control-allow-headers").unwrap_or("none").to_lowercase();
    ensure!(
        headers.contains("authorization") && headers.contains("content-type"),
        "expected Authorization and Content-Type among the allowed headers, found {headers}: {answer}"
    );
    let max_age = answer.header("access-control-max-age").unwrap_or("none");
    ensure!(max_age == MAX_AGE_SECONDS, "expected Access-Control-Max-Age {MAX_AGE_SECONDS}, found {max_age}: {answer}");

    // What is no preflight request is no leave for anything.
    let plain = gateway.request(Method::OPTIONS, PROMETHEUS).send().await?;
    plain.expect_problem(405, "OPTIONS without an origin")?;
    gateway.request(Method::OPTIONS, "/nowhere").send().await?.expect_problem(404, "OPTIONS on an unknown path")?;

    let stranger = preflight("https://stranger.example").await?;
    let origin = stranger.header("access-control-allow-origin");
    ensure!(origin.is_none(), "expected no Access-Control-Allow-Origin for a stranger, found {origin:?}: {stranger}");

    // The answer to the request itself says so too, or a browser would not show it.
    let request = gateway.post(PROMETHEUS).header(ORIGIN, allowed).json(&json!({}));
    let answer = request.send().await?;
    let origin = answer.header("access-control-allow-origin").unwrap_or("none");
    ensure!(origin == allowed, "expected Access-Control-Allow-Origin: {allowed}, found {origin}: {answer}");
    Ok(())
}
