//! Who may send.

use crate::support::alerts::{EVENT, PROMETHEUS, about_deployment};
use crate::support::proxy::{Mode, Proxy};
use crate::support::{Answer, Running, server, test};

async fn send(gateway: &Running, authorization: Option<&str>, body: &str) -> Answer {
    let mut request =
        gateway.http.post(gateway.url(PROMETHEUS)).header("content-type", "application/json").body(body.to_owned());
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    Answer::read(request.send().await.unwrap()).await
}

#[test]
fn only_who_may_create_the_service_may_send() {
    test(async |world| {
        let gateway = world.gateway().await;
        let body = about_deployment(&world.namespace, "web").to_string();
        let stranger = server().create_service_account(&world.home, "stranger").await.unwrap();
        for (authorization, status) in [
            (None, 401),
            (Some(String::new()), 401),
            (Some("Bearer".to_owned()), 401),
            (Some("Bearer ".to_owned()), 401),
            (Some("Bearer not-a-token".to_owned()), 401),
            (Some(format!("Basic {}", world.token)), 401),
            (Some(format!("Bearer {}x", world.token)), 401),
            (Some(format!("Bearer {stranger}")), 403),
        ] {
            // Twice: a refusal must not be remembered as anything else.
            for _ in 0..2 {
                let answer = send(&gateway, authorization.as_deref(), &body).await.expect(status);
                assert_eq!(answer.header("content-type"), "application/problem+json");
                assert_eq!(answer.header("www-authenticate"), if status == 401 { "Bearer" } else { "" });
            }
        }
        assert_eq!(world.requests().await.len(), 0);
        send(&gateway, Some(&format!("Bearer {}", world.token)), &body).await.expect(201);
        send(&gateway, Some(&format!("bearer {}", world.token)), &body).await.expect(202);
    });
}

#[test]
fn who_is_told_apart_before_the_body_is_looked_at() {
    test(async |world| {
        let gateway = world.gateway().await;
        for path in [PROMETHEUS, EVENT] {
            let answer = gateway.http.post(gateway.url(path)).body("not JSON").send().await.unwrap();
            Answer::read(answer).await.expect(401);
        }
        let answer = gateway.http.get(gateway.url(PROMETHEUS)).send().await.unwrap();
        Answer::read(answer).await.expect(405);
    });
}

#[test]
fn a_positive_answer_is_remembered_and_a_negative_one_is_not() {
    test(async |world| {
        let proxy = Proxy::start().await;
        let gateway = world.gateway_at(proxy.client(&world.gateway_token), |_| {}).await;
        let ours = format!("Bearer {}", world.token);
        let bad = "{";
        send(&gateway, Some(&ours), bad).await.expect(400);
        send(&gateway, Some("Bearer unknown"), bad).await.expect(401);
        proxy.set(Mode::Cut);
        send(&gateway, Some(&ours), bad).await.expect(400);
        let answer = send(&gateway, Some("Bearer unknown"), bad).await.expect(503);
        assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
    });
}

#[test]
fn what_is_remembered_is_forgotten_in_time() {
    test(async |world| {
        let proxy = Proxy::start().await;
        let quick = |config: &mut gateway::Config| config.auth.cache_ttl_ms = 1;
        let gateway = world.gateway_at(proxy.client(&world.gateway_token), quick).await;
        let ours = format!("Bearer {}", world.token);
        send(&gateway, Some(&ours), "{").await.expect(400);
        proxy.set(Mode::Cut);
        send(&gateway, Some(&ours), "{").await.expect(503);
    });
}

#[test]
fn without_authentication_anybody_may() {
    test(async |world| {
        let gateway = world.gateway_with(|config| config.auth.enabled = false).await;
        send(&gateway, None, &about_deployment(&world.namespace, "web").to_string()).await.expect(201);
        send(&gateway, Some("Bearer nonsense"), &about_deployment(&world.namespace, "web").to_string())
            .await
            .expect(202);
    });
}
