//! The API server is away, or slow; the gateway is full, or asked to go.

use std::time::{Duration, Instant};

use crate::support::alerts::{about_deployment, alert, pod_event, webhook};
use crate::support::proxy::{Mode, Proxy};
use crate::support::{Running, World, test, wait_for};

async fn behind(world: &World, proxy: &Proxy, change: impl FnOnce(&mut gateway::Config)) -> Running {
    world
        .gateway_at(proxy.client(&world.gateway_token), |config| {
            config.auth.enabled = false;
            change(config);
        })
        .await
}

#[test]
fn an_api_server_that_is_away_is_503_and_no_signal_is_dropped() {
    test(async |world| {
        let proxy = Proxy::start().await;
        let gateway = behind(&world, &proxy, |_| {}).await;
        let about_pod = webhook(&[alert(&[("namespace", &world.namespace), ("pod", "web-0")])]);
        proxy.set(Mode::Cut);
        for answer in [
            gateway.prometheus(&about_deployment(&world.namespace, "web")).await,
            gateway.prometheus(&about_pod).await,
            gateway.event(&pod_event(&world.namespace, "web-0")).await,
        ] {
            let answer = answer.expect(503);
            assert!(answer.text("type").ends_with("/service-unavailable"));
            assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
            assert!(!answer.body.to_string().contains("127.0.0.1"), "no internal detail leaks: {answer:?}");
        }
        assert_eq!(world.requests().await.len(), 0);
        proxy.set(Mode::Pass);
        gateway.prometheus(&about_deployment(&world.namespace, "web")).await.expect(201);
        gateway.prometheus(&about_pod).await.expect(201);
    });
}

#[test]
fn one_slow_call_is_503_and_all_of_them_504() {
    test(async |world| {
        let proxy = Proxy::start().await;
        let call = behind(&world, &proxy, |config| config.kubernetes.call_deadline_ms = 200).await;
        let whole = behind(&world, &proxy, |config| config.kubernetes.request_deadline_ms = 200).await;
        proxy.set(Mode::Stall);
        call.prometheus(&about_deployment(&world.namespace, "web")).await.expect(503);
        let answer = whole.prometheus(&about_deployment(&world.namespace, "web")).await.expect(504);
        assert!(answer.text("type").ends_with("/gateway-timeout"));
        let two = webhook(&[alert(&[("deployment", "a")]), alert(&[("deployment", "b")])]);
        let answer = whole.prometheus(&two).await.expect(503);
        assert_eq!(answer.body["summary"]["failed"], 2);
        proxy.set(Mode::Pass);
        let patient = behind(&world, &proxy, |_| {}).await;
        let answer = patient.prometheus(&about_deployment(&world.namespace, "web")).await;
        assert!(
            answer.status == 201 || answer.status == 202,
            "a call that was given up may have come through: {answer:?}"
        );
        world.request().await;
    });
}

#[test]
fn the_deadlines_are_those_of_the_contract() {
    let kubernetes = gateway::Config::default().kubernetes;
    assert_eq!((kubernetes.call_deadline_ms, kubernetes.request_deadline_ms), (5_000, 15_000));
    let server = gateway::Config::default().server;
    assert_eq!((server.max_in_flight, server.place_deadline_ms, server.shutdown_deadline_ms), (100, 5_000, 30_000));
    assert_eq!((server.max_event_bytes, server.max_webhook_bytes), (256 * 1024, 4 * 1024 * 1024));
}

#[test]
fn more_than_may_be_in_flight_waits_and_then_is_503() {
    test(async |world| {
        let proxy = Proxy::start().await;
        let impatient = |config: &mut gateway::Config| {
            config.server.max_in_flight = 2;
            config.server.place_deadline_ms = 100;
        };
        let gateway = behind(&world, &proxy, impatient).await;
        proxy.set(Mode::Stall);
        let webhooks = ["a", "b"].map(|name| about_deployment(&world.namespace, name));
        let held = futures::future::join_all(webhooks.iter().map(|webhook| gateway.prometheus(webhook)));
        let probe = async {
            let answer = wait_for("a refusal", async || {
                let answer = gateway.prometheus(&serde_json::json!({})).await;
                (answer.status == 503).then_some(answer)
            })
            .await;
            assert!(answer.text("type").ends_with("/overloaded"));
            assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
            gateway.health("/healthz").await.expect(200);
            proxy.set(Mode::Pass);
        };
        let (answers, ()) = tokio::join!(held, probe);
        assert!(answers.iter().all(|answer| answer.status == 201), "{answers:?}");
        assert!(gateway.metric("gateway_signals_rejected_total{reason=\"overloaded\"}").await >= 1.0);
        gateway.prometheus(&about_deployment(&world.namespace, "c")).await.expect(201);
    });
}

#[test]
fn readiness_follows_the_api_server() {
    test(async |world| {
        let proxy = Proxy::start().await;
        proxy.set(Mode::Cut);
        let gateway = behind(&world, &proxy, |_| {}).await;
        let answer = gateway.health("/readyz").await.expect(503);
        assert_eq!(answer.text("reason"), "RemediationRequests cannot be listed");
        gateway.health("/healthz").await.expect(200);
        proxy.set(Mode::Pass);
        wait_for("the gateway to be ready", async || (gateway.health("/readyz").await.status == 200).then_some(()))
            .await;
        proxy.set(Mode::Cut);
        wait_for("the gateway to be unready", async || (gateway.health("/readyz").await.status == 503).then_some(()))
            .await;
    });
}

#[test]
fn a_shutdown_is_unready_at_once_and_finishes_what_is_in_flight() {
    test(async |world| {
        let proxy = Proxy::start().await;
        let gateway = behind(&world, &proxy, |_| {}).await;
        gateway.health("/readyz").await.expect(200);
        proxy.set(Mode::Stall);
        let Running { gateway: serving, http, .. } = gateway;
        let (api, health) = (serving.api_address(), serving.health_address());
        let send = http
            .post(format!("http://{api}{}", crate::support::alerts::PROMETHEUS))
            .body(about_deployment(&world.namespace, "web").to_string());
        let in_flight = tokio::spawn(async move { send.send().await.unwrap().status().as_u16() });
        wait_for("the signal to be in flight", async || {
            let metrics = http.get(format!("http://{}/metrics", serving.metrics_address())).send().await.unwrap();
            metrics.text().await.unwrap().contains("gateway_signals_received_total{").then_some(())
        })
        .await;
        let probe = async {
            wait_for("the API to refuse connections", async || {
                tokio::net::TcpStream::connect(api).await.is_err().then_some(())
            })
            .await;
            let ready = http.get(format!("http://{health}/readyz")).send().await.unwrap();
            assert_eq!(ready.status().as_u16(), 503);
            assert!(ready.text().await.unwrap().contains("shutting down"));
            assert_eq!(http.get(format!("http://{health}/healthz")).send().await.unwrap().status().as_u16(), 200);
            proxy.set(Mode::Pass);
        };
        tokio::join!(serving.shutdown(), probe);
        assert_eq!(in_flight.await.unwrap(), 201);
        world.request().await;
    });
}

#[test]
fn a_shutdown_cuts_off_what_takes_too_long() {
    test(async |world| {
        let proxy = Proxy::start().await;
        let gateway = behind(&world, &proxy, |config| config.server.shutdown_deadline_ms = 200).await;
        proxy.set(Mode::Stall);
        let mut idle = tokio::net::TcpStream::connect(gateway.gateway.api_address()).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(
            &mut idle,
            b"POST /api/v1/signals/prometheus HTTP/1.1\r\ncontent-length: 9\r\nhost: x\r\n\r\n",
        )
        .await
        .unwrap();
        let started = Instant::now();
        gateway.gateway.shutdown().await;
        assert!(started.elapsed() < Duration::from_secs(5), "it took {:?}", started.elapsed());
    });
}
