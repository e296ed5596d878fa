//! An API server that does what it is asked for and does not say so, or whose objects others change in between.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::alerts::about_deployment;
use crate::support::{World, test};

/// Plays the few calls that a new problem takes.
#[derive(Default)]
struct Played {
    object: Option<Value>,
    /// Creations that are carried out and never answered.
    silent_creations: usize,
    /// Status patches that come too late, for a controller wrote a phase just before.
    conflicts: usize,
}

type Shared = Arc<Mutex<Played>>;

async fn play(State(played): State<Shared>, request: Request) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let is_table = request.headers().get("accept").is_some_and(|accept| accept.as_bytes().ends_with(b"g=meta.k8s.io"));
    let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
    let not_found = json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": "no"});
    let is_silent = {
        let mut played = played.lock().unwrap();
        if method == Method::POST && path.ends_with("/remediationrequests") {
            let mut object: Value = serde_json::from_slice(&body).unwrap();
            object["metadata"]["uid"] = json!("7f");
            object["metadata"]["resourceVersion"] = json!("1");
            played.object = Some(object);
            let is_silent = played.silent_creations > 0;
            played.silent_creations = played.silent_creations.saturating_sub(1);
            is_silent
        } else {
            false
        }
    };
    if is_silent {
        std::future::pending::<()>().await;
    }
    let mut played = played.lock().unwrap();
    if path.contains("/leases") {
        return Json(json!({"metadata": {"name": "rr-x", "uid": "9a"}})).into_response();
    }
    if is_table {
        let columns = json!([{"name": "Name"}, {"name": "Phase"}]);
        return Json(json!({"kind": "Table", "columnDefinitions": columns, "rows": []})).into_response();
    }
    if path.contains("/remediationrequests") {
        let is_late = method == Method::PATCH && played.conflicts > 0;
        if is_late {
            played.conflicts -= 1;
            let object = played.object.as_mut().unwrap();
            object["status"] = json!({"overallPhase": "Pending"});
            object["metadata"]["resourceVersion"] = json!("2");
            let status =
                json!({"kind": "Status", "status": "Failure", "code": 409, "reason": "Conflict", "message": "no"});
            return (StatusCode::CONFLICT, Json(status)).into_response();
        }
        return match &mut played.object {
            Some(object) => {
                if method == Method::PATCH {
                    let patch: Value = serde_json::from_slice(&body).unwrap();
                    assert_eq!(patch["metadata"]["resourceVersion"], object["metadata"]["resourceVersion"]);
                    object["status"]["deduplication"] = patch["status"]["deduplication"].clone();
                }
                Json(object.clone()).into_response()
            }
            None => (StatusCode::NOT_FOUND, Json(not_found)).into_response(),
        };
    }
    if path.starts_with("/api/v1/namespaces/") {
        let object =
            json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "shop"}});
        return Json(object).into_response();
    }
    (StatusCode::NOT_FOUND, Json(not_found)).into_response()
}

async fn gateway_of(world: &World, played: &Shared) -> crate::support::Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(play).with_state(played.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let client = kube::Client::try_from(kube::Config::new(format!("http://{address}").parse().unwrap())).unwrap();
    world
        .gateway_at(client, |config| {
            config.auth.enabled = false;
            config.kubernetes.call_deadline_ms = 500;
        })
        .await
}

fn count(played: &Shared) -> Value {
    played.lock().unwrap().object.as_ref().unwrap()["status"]["deduplication"]["occurrenceCount"].clone()
}

#[test]
fn what_was_created_without_an_answer_was_created() {
    test(async |world| {
        let played: Shared = Arc::new(Mutex::new(Played { silent_creations: 1, ..Played::default() }));
        let gateway = gateway_of(&world, &played).await;
        let webhook = about_deployment("shop", "web");
        let answer = tokio::time::timeout(Duration::from_secs(20), gateway.prometheus(&webhook));
        let answer = answer.await.unwrap().expect(201);
        let name = played.lock().unwrap().object.as_ref().unwrap()["metadata"]["name"].clone();
        assert_eq!(answer.text("remediationRequestName"), name);
        assert_eq!(count(&played), 1);
    });
}

#[test]
fn the_first_count_is_written_though_somebody_wrote_a_phase_before() {
    test(async |world| {
        let played: Shared = Arc::new(Mutex::new(Played { conflicts: 2, ..Played::default() }));
        let gateway = gateway_of(&world, &played).await;
        gateway.prometheus(&about_deployment("shop", "web")).await.expect(201);
        assert_eq!(count(&played), 1);
        assert_eq!(played.lock().unwrap().object.as_ref().unwrap()["status"]["overallPhase"], "Pending");
    });
}
