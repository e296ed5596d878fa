//! How the queue is worked off.

use std::collections::HashMap;

use datastorage::Service;
use datastorage::queue::{DEAD_LETTERS, STREAM};
use redis::aio::MultiplexedConnection;
use serde_json::json;
use sqlx::Connection;
use uuid::Uuid;

use crate::stand::{BATCH, Client, EVENTS, Servers, event, event_with, unique, wait_for};

/// The JSON of an event as the service queues it.
pub(crate) fn queued(correlation_id: &str) -> String {
    event_with(correlation_id, "event_id", Uuid::new_v4().to_string()).to_string()
}

pub(crate) async fn add(redis: &mut MultiplexedConnection, field: &str, value: &[u8]) -> String {
    redis::cmd("XADD").arg(STREAM).arg("*").arg(field).arg(value).query_async(redis).await.unwrap()
}

async fn dead_letters(redis: &mut MultiplexedConnection) -> Vec<HashMap<String, Vec<u8>>> {
    let entries: Vec<(String, HashMap<String, Vec<u8>>)> =
        redis::cmd("XRANGE").arg(DEAD_LETTERS).arg("-").arg("+").query_async(redis).await.unwrap();
    entries.into_iter().map(|(_, fields)| fields).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_is_moved_after_six_tries_and_holds_up_nothing() {
    let servers = Servers::start();
    let mut redis = servers.redis().await;
    let name = unique("poison");
    // One that PostgreSQL refuses, two that nobody can read, among many that are good.
    let unstorable = queued(&name).replace("HighMemory", "\\u0000");
    let mut entries = vec![add(&mut redis, "event", unstorable.as_bytes()).await];
    for _ in 0..20 {
        add(&mut redis, "event", queued(&name).as_bytes()).await;
    }
    entries.push(add(&mut redis, "event", b"\xff\xfe{").await);
    entries.push(add(&mut redis, "\u{fc}", b"what is this").await);

    let service = Service::start(servers.config()).await.unwrap();
    servers_ready(&service).await;
    servers.wait_for_rows(&name, 20).await;
    wait_for("three dead letters", async || dead_letters(&mut redis).await.len() == 3).await;
    let letters = dead_letters(&mut redis).await;
    let letter_of = |entry: &str| letters.iter().find(|letter| letter["entry"] == entry.as_bytes()).unwrap();
    for entry in &entries {
        let letter = letter_of(entry);
        assert_eq!(letter["tries"], b"6");
        assert!(!letter["reason"].is_empty() && letter.contains_key("moved_at"));
    }
    assert_eq!(letter_of(&entries[0])["event"], unstorable.as_bytes(), "the entry is kept as it was");
    assert_eq!(letter_of(&entries[1])["event"], b"\xff\xfe{");
    assert_eq!(letter_of(&entries[2])["\u{fc}"], b"what is this");
    assert_eq!(servers.queued().await, 0);
    let tries: u64 = redis::cmd("EXISTS").arg("audit:dlq:tries").query_async(&mut redis).await.unwrap();
    assert_eq!(tries, 0, "no count is left behind");
    service.stop().await;
}

async fn servers_ready(service: &Service) {
    let client = Client::of(service);
    client.wait_until_up("postgres").await;
    client.wait_until_up("redis").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_no_try() {
    let servers = Servers::start();
    let mut redis = servers.redis().await;
    let service = Service::start(servers.config()).await.unwrap();
    servers_ready(&service).await;
    // PostgreSQL answers, but takes no row: a fault of its own, many times over.
    let mut sql = servers.sql().await;
    sqlx::raw_sql("ALTER TABLE audit_event_ids RENAME TO hidden").execute(&mut sql).await.unwrap();
    let name = unique("no-try");
    add(&mut redis, "event", queued(&name).as_bytes()).await;
    let mut failed = 0_i64;
    wait_for("ten failed writes", async || {
        let log = std::fs::read_to_string(servers.postgres.log()).unwrap_or_default();
        failed = i64::try_from(log.matches("\"audit_event_ids\" does not exist").count()).unwrap();
        failed >= 10
    })
    .await;
    assert_eq!(dead_letters(&mut redis).await.len(), 0, "after {failed} failures it is still in the queue");
    sqlx::raw_sql("ALTER TABLE hidden RENAME TO audit_event_ids").execute(&mut sql).await.unwrap();
    servers.wait_for_rows(&name, 1).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_replica_had_in_hand_is_taken_over() {
    let servers = Servers::start();
    let mut redis = servers.redis().await;
    let name = unique("taken-over");
    let () = redis::cmd("XGROUP")
        .arg(&["CREATE", STREAM, "datastorage", "0", "MKSTREAM"])
        .query_async(&mut redis)
        .await
        .unwrap();
    for _ in 0..3 {
        add(&mut redis, "event", queued(&name).as_bytes()).await;
    }
    // A replica of another name that reads them and is never heard of again.
    let _: redis::Value = redis::cmd("XREADGROUP")
        .arg(&["GROUP", "datastorage", "another", "COUNT", "2", "STREAMS", STREAM, ">"])
        .query_async(&mut redis)
        .await
        .unwrap();
    let service = Service::start(servers.config()).await.unwrap();
    servers_ready(&service).await;
    servers.wait_for_rows(&name, 3).await;
    wait_for("an empty queue", async || servers.queued().await == 0).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_was_wiped_is_made_anew() {
    let mut servers = Servers::start();
    let service = Service::start(servers.config()).await.unwrap();
    servers_ready(&service).await;
    let client = Client::of(&service);
    let () = redis::cmd("FLUSHALL").query_async(&mut servers.redis().await).await.unwrap();
    servers.postgres.kill9().unwrap();
    let name = unique("anew");
    assert_eq!(client.post(EVENTS, &event(&name)).await.status, 202);
    servers.postgres.restart().unwrap();
    servers.wait_for_rows(&name, 1).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_share_the_work_and_double_nothing() {
    let servers = Servers::start();
    let mut redis = servers.redis().await;
    let name = unique("shared");
    for _ in 0..3000 {
        add(&mut redis, "event", queued(&name).as_bytes()).await;
    }
    let mut services = Vec::new();
    for consumer in ["first", "second"] {
        let mut config = servers.config();
        config.queue.consumer = Some(consumer.to_owned());
        // So short that they take entries from each other while they are at work.
        config.queue.claim_idle_ms = 1;
        services.push(Service::start(config).await.unwrap());
    }
    wait_for("an empty queue", async || servers.queued().await == 0).await;
    assert_eq!(servers.rows(&name).await, 3000);
    for service in services {
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_only_this_database_refuses_names_its_event() {
    let servers = Servers::start();
    let service = Service::start(servers.config()).await.unwrap();
    servers_ready(&service).await;
    let client = Client::of(&service);
    let mut sql = servers.sql().await;
    sqlx::raw_sql("ALTER TABLE audit_events ADD CHECK (namespace <> 'forbidden')").execute(&mut sql).await.unwrap();
    sql.close().await.unwrap();
    let name = unique("refused");
    let bad = event_with(&name, "namespace", "forbidden");
    let one = client.post(EVENTS, &bad).await;
    assert_eq!(one.status, 400, "{one:?}");
    let batch = client.post(BATCH, &json!([event(&name), bad, event(&name)])).await;
    assert_eq!((batch.status, &batch.body["index"]), (400, &json!(1)), "{batch:?}");
    let told = batch.body["detail"].as_str().unwrap();
    assert!(!told.contains("constraint") && !told.contains("relation"), "no internal detail: {told}");
    assert_eq!(servers.rows(&name).await, 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_a_newer_version_is_left_to_it() {
    let servers = Servers::start();
    let mut redis = servers.redis().await;
    let name = unique("newer");
    let newer = queued(&name).replace("\"version\"", "\"tenant\":\"a\",\"version\"");
    let entry = add(&mut redis, "event", newer.as_bytes()).await;
    for _ in 0..3 {
        add(&mut redis, "event", queued(&name).as_bytes()).await;
    }
    let mut config = servers.config();
    config.queue.claim_idle_ms = 20;
    let service = Service::start(config).await.unwrap();
    servers_ready(&service).await;
    servers.wait_for_rows(&name, 3).await;
    wait_for("the others to be settled", async || servers.queued().await == 1).await;
    // It stays idle, so that a newer version takes it over.
    wait_for("it to be idle for a second", async || {
        let pending: Vec<(String, String, u64, u64)> = redis::cmd("XPENDING")
            .arg(&[STREAM, "datastorage", "IDLE", "1000", "-", "+", "10"])
            .query_async(&mut redis)
            .await
            .unwrap();
        pending.len() == 1 && pending[0].0 == entry
    })
    .await;
    assert_eq!(dead_letters(&mut redis).await.len(), 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_event_meets_alone_ends_among_the_dead_letters_and_postgresql_stays_up() {
    let servers = Servers::start();
    let service = Service::start(servers.config()).await.unwrap();
    servers_ready(&service).await;
    // An error of no known kind, as of a bug of the server, for one event and no other.
    sqlx::raw_sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             RAISE EXCEPTION USING ERRCODE = 'XX000', MESSAGE = 'internal';
         END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON audit_events FOR EACH ROW WHEN (NEW.severity = 'odd')
             EXECUTE FUNCTION refuse()",
    )
    .execute(&mut servers.sql().await)
    .await
    .unwrap();
    let mut redis = servers.redis().await;
    let name = unique("odd");
    let client = Client::of(&service);
    assert_eq!(client.post(EVENTS, &event_with(&name, "severity", "odd")).await.status, 202, "it is in doubt");
    assert_eq!(client.ready().await.body["postgres"]["up"], true, "one event does not make PostgreSQL look down");
    add(&mut redis, "event", queued(&name).as_bytes()).await;
    servers.wait_for_rows(&name, 1).await;
    wait_for("a dead letter", async || dead_letters(&mut redis).await.len() == 1).await;
    service.stop().await;
}
