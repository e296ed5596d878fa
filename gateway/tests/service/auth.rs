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
fn what_the_api_server_said_of_a_token_is_remembered() {
    test(async |world| {
        let proxy = Proxy::start().await;
        let gateway = world.gateway_at(proxy.client(&world.gateway_token), |_| {}).await;
        let ours = format!("Bearer {}", world.token);
        let stranger = server().create_service_account(&world.home, "stranger").await.unwrap();
        let (bad, stranger) = ("{", format!("Bearer {stranger}"));
        send(&gateway, Some(&ours), bad).await.expect(400);
        send(&gateway, Some("Bearer unknown"), bad).await.expect(401);
        send(&gateway, Some(&stranger), bad).await.expect(403);
        proxy.set(Mode::Cut);
        send(&gateway, Some(&ours), bad).await.expect(400);
        send(&gateway, Some("Bearer unknown"), bad).await.expect(401);
        for authorization in ["Bearer another", &stranger] {
            let answer = send(&gateway, Some(authorization), bad).await.expect(503);
            assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
        }
    });
}

#[test]
fn several_authorizations_are_none() {
    test(async |world| {
        let gateway = world.gateway().await;
        for others in [["Bearer nonsense", &world.token], [&world.token, "Bearer nonsense"]] {
            let mut request = gateway.http.post(gateway.url(PROMETHEUS)).body("{}");
            for other in others {
                request = request.header("authorization", format!("Bearer {}", other.trim_start_matches("Bearer ")));
            }
            let answer = Answer::read(request.send().await.unwrap()).await.expect(400);
            assert!(answer.text("detail").contains("Authorization"), "{answer:?}");
        }
    });
}

#[test]
fn who_may_not_send_takes_no_place() {
    test(async |world| {
        let proxy = Proxy::start().await;
        let narrow = |config: &mut gateway::Config| {
            config.server.max_in_flight = 1;
            config.server.place_deadline_ms = 200;
        };
        let gateway = world.gateway_at(proxy.client(&world.gateway_token), narrow).await;
        send(&gateway, Some(&format!("Bearer {}", world.token)), "{").await.expect(400);
        proxy.set(Mode::Stall);
        let strangers = (0..8).map(|n| {
            let request = gateway.http.post(gateway.url(PROMETHEUS)).bearer_auth(format!("made-up-{n}")).body("{}");
            tokio::spawn(request.send())
        });
        let strangers: Vec<_> = strangers.collect();
        for _ in 0..5 {
            send(&gateway, Some(&format!("Bearer {}", world.token)), "{").await.expect(400);
        }
        strangers.iter().for_each(tokio::task::JoinHandle::abort);
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
