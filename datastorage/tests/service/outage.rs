//! What happens while PostgreSQL, Redis or both are away.

use std::time::{Duration, Instant};

use datastorage::Service;
use jiff::{Timestamp, ToSpan};
use serde_json::json;
use testbed::postgres::Postgres;
use testbed::redis::Redis;
use tokio::io::{AsyncReadExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::queue::{add, queued};
use crate::stand::{BATCH, Client, EVENTS, Servers, event, event_with, unique};

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_without_postgresql_and_migrates_when_it_comes() {
    let mut servers = Servers { postgres: Postgres::make().unwrap(), redis: Redis::start().unwrap() };
    let mut config = servers.config();
    config.postgres.write_timeout_ms = 2_000;
    let service = Service::start(config).await.unwrap();
    let client = Client::of(&service);
    client.wait_until_up("redis").await;
    let ready = client.ready().await;
    assert_eq!((ready.status, &ready.body["postgres"]["up"]), (200, &json!(false)), "Redis alone is enough: {ready:?}");

    let name = unique("early");
    let one = client.post(EVENTS, &event(&name)).await;
    assert_eq!((one.status, &one.body["status"]), (202, &json!("accepted")), "{one:?}");
    let repeated = event_with(&name, "event_id", uuid::Uuid::new_v4().to_string());
    let batch = client.post(BATCH, &json!([event(&name), repeated, repeated])).await;
    assert_eq!((batch.status, &batch.body["status"]), (202, &json!("accepted")), "{batch:?}");
    assert_eq!(servers.queued().await, 4);
    let list = client.get(EVENTS).await;
    assert_eq!((list.status, &list.headers["retry-after"]), (503, &"5".parse().unwrap()), "{list:?}");

    servers.redis.kill9();
    client.wait_until_down("redis").await;
    assert_eq!(client.ready().await.status, 503, "nothing is left to keep an event");
    assert!(client.alive().await, "it lives nevertheless");
    let refused = client.post(EVENTS, &event(&name)).await;
    assert_eq!((refused.status, &refused.headers["retry-after"]), (503, &"5".parse().unwrap()), "{refused:?}");

    servers.postgres.restart().unwrap();
    client.wait_until_up("postgres").await;
    let last = uuid::Uuid::new_v4();
    crate::stand::wait_for("PostgreSQL alone to be enough", async || {
        client.post(EVENTS, &event_with(&name, "event_id", last.to_string())).await.status == 201
    })
    .await;
    servers.redis.restart().unwrap();
    servers.wait_for_rows(&name, 4).await;
    assert_eq!(servers.queued().await, 0, "what is written leaves the queue");
    service.stop().await;
}

/// Forwards connections until it is told to stall; then it keeps them open and passes nothing on.
async fn proxy(target: String) -> (String, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stalled = watch::Sender::new(false);
    let sender = stalled.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (target, mut stall) = (target.clone(), sender.subscribe());
            tokio::spawn(async move {
                let forward = async {
                    let mut server = TcpStream::connect(target).await?;
                    copy_bidirectional(&mut client, &mut server).await
                };
                tokio::select! {
                    _ = stall.wait_for(|stalled| *stalled) => {}
                    _ = forward => return,
                }
                let _ = stall.wait_for(|stalled| !*stalled).await;
            });
        }
    });
    (address, stalled)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_hangs_costs_two_seconds_once() {
    let servers = Servers::start();
    let (address, stalled) = proxy(servers.postgres.address()).await;
    let mut config = servers.config();
    config.postgres.address = address.parse().unwrap();
    config.postgres.write_timeout_ms = 1_500;
    let service = Service::start(config).await.unwrap();
    let client = Client::of(&service);
    client.wait_until_up("postgres").await;
    let name = unique("hangs");
    assert_eq!(client.post(EVENTS, &event(&name)).await.status, 201);

    stalled.send_replace(true);
    // 1.5 s, and some for a busy machine.
    let begun = Instant::now();
    assert_eq!(client.post(EVENTS, &event(&name)).await.status, 202);
    assert!(begun.elapsed() < Duration::from_secs(6), "the first waits for PostgreSQL: {:?}", begun.elapsed());
    let begun = Instant::now();
    for _ in 0..10 {
        assert_eq!(client.post(EVENTS, &event(&name)).await.status, 202);
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "the others do not: {:?}", begun.elapsed());

    stalled.send_replace(false);
    client.wait_until_up("postgres").await;
    servers.wait_for_rows(&name, 12).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_an_answer_does_not_hold_up_the_next() {
    let servers = Servers::start();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = servers.config();
    config.postgres.address = listener.local_addr().unwrap().to_string().parse().unwrap();
    let target = servers.postgres.address();
    let first_is_open = tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        let (mut second, _) = listener.accept().await.unwrap();
        let mut rest = Vec::new();
        let open = timeout(Duration::from_millis(200), first.read_to_end(&mut rest)).await.is_err();
        tokio::spawn(async move {
            let mut server = TcpStream::connect(target).await.unwrap();
            let _ = copy_bidirectional(&mut second, &mut server).await;
            drop(first);
        });
        open
    });
    let service = Service::start(config).await.unwrap();
    Client::of(&service).wait_until_up("postgres").await;
    assert!(first_is_open.await.unwrap(), "the second attempt began when the first was given up");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_of_an_outage_do_not_outlive_it() {
    let servers = Servers::start();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = servers.config();
    config.postgres.address = listener.local_addr().unwrap().to_string().parse().unwrap();
    config.postgres.write_timeout_ms = 1_500;
    // Longer than anything here waits: so long may an attempt of a reader take to connect.
    config.postgres.read_timeout_ms = 600_000;
    let writers = 2 * config.postgres.max_connections;
    let target = servers.postgres.address();
    let away = watch::Sender::new(false);
    let sender = away.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (target, mut away) = (target.clone(), sender.subscribe());
            tokio::spawn(async move {
                if *away.borrow() {
                    // As packets to a pod that is gone, and not only until there is another one.
                    std::future::pending::<()>().await;
                }
                let mut server = TcpStream::connect(target).await?;
                tokio::select! {
                    _ = away.wait_for(|away| *away) => Ok((0, 0)),
                    forwarded = copy_bidirectional(&mut client, &mut server) => forwarded,
                }
            });
        }
    });
    let service = Service::start(config).await.unwrap();
    let client = Client::of(&service);
    client.wait_until_up("postgres").await;

    away.send_replace(true);
    let name = unique("attempts");
    // The queue is worked off before it is known that nobody is there.
    add(&mut servers.redis().await, "event", queued(&name).as_bytes()).await;
    let mut posts = JoinSet::new();
    for _ in 0..writers {
        let (client, event) = (client.clone(), event(&name));
        posts.spawn(async move { client.post(EVENTS, &event).await.status });
    }
    assert!(posts.join_all().await.iter().all(|status| *status == 202));
    client.wait_until_down("postgres").await;
    away.send_replace(false);
    servers.wait_for_rows(&name, i64::from(writers) + 1).await;
    assert_eq!(client.post(EVENTS, &event(&name)).await.status, 201);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_made_ahead_of_need_and_when_needed() {
    let servers = Servers::start();
    let service = Service::start(servers.config()).await.unwrap();
    let client = Client::of(&service);
    client.wait_until_up("postgres").await;
    let mut sql = servers.sql().await;
    let partition = |time: Timestamp| format!("audit_events_{}", time.strftime("%Y_%m"));
    let now = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    for months in -1..=3 {
        let name = partition((&now + months.months()).timestamp());
        let there: bool =
            sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(&name).fetch_one(&mut sql).await.unwrap();
        assert!(there, "{name} is made beforehand");
    }
    let indexed: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_indexes WHERE tablename = $1")
        .bind(partition(now.timestamp()))
        .fetch_one(&mut sql)
        .await
        .unwrap();
    assert_eq!(indexed, 5, "a partition has the indexes of the table");

    // An event that waited in the queue for half a year, while nobody could make the partition of its month.
    let name = unique("late");
    let month = &now - 6.months();
    let mut late = event_with(&name, "event_timestamp", month.timestamp().to_string());
    late["event_id"] = json!(uuid::Uuid::new_v4());
    add(&mut servers.redis().await, "event", late.to_string().as_bytes()).await;
    servers.wait_for_rows(&name, 1).await;

    // One that was there, and that the service believes to be there, is made again.
    let drop = format!("DROP TABLE {}", partition(now.timestamp()));
    sqlx::raw_sql(sqlx::AssertSqlSafe(drop)).execute(&mut sql).await.unwrap();
    assert_eq!(client.post(EVENTS, &event(&name)).await.status, 201);
    assert_eq!(servers.rows(&name).await, 2);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_could_lose_events_is_not_used() {
    let mut servers = Servers { postgres: Postgres::make().unwrap(), redis: Redis::start().unwrap() };
    let mut redis = servers.redis().await;
    for (setting, lossy, safe, blamed) in [
        ("appendfsync", "everysec", "always", "appendfsync"),
        ("appendonly", "no", "yes", "appendonly"),
        ("maxmemory-policy", "allkeys-lru", "noeviction", "evict"),
    ] {
        let mut set = async |value: &str| {
            let () = redis::cmd("CONFIG")
                .arg("SET")
                .arg("maxmemory")
                .arg("1gb")
                .arg(setting)
                .arg(value)
                .query_async(&mut redis)
                .await
                .unwrap();
        };
        set(lossy).await;
        let mut config = servers.config();
        config.postgres.write_timeout_ms = 2_000;
        let service = Service::start(config).await.unwrap();
        let client = Client::of(&service);
        crate::stand::wait_for("the reason", async || {
            client.ready().await.body["redis"]["reason"].as_str().is_some_and(|reason| reason.contains(blamed))
        })
        .await;
        assert_eq!(client.post(EVENTS, &event("lossy")).await.status, 503);
        assert_eq!(client.ready().await.status, 503);
        set(safe).await;
        client.wait_until_up("redis").await;
        assert_eq!(client.post(EVENTS, &event("safe")).await.status, 202);
        service.stop().await;
    }
    servers.redis.stop();
}

/// The bytes that Redis says it uses.
async fn used_memory(redis: &mut redis::aio::MultiplexedConnection) -> u64 {
    let info: String = redis::cmd("INFO").arg("memory").query_async(redis).await.unwrap();
    info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_bounded_in_bytes_and_worked_off_in_few() {
    let mut servers = Servers { postgres: Postgres::make().unwrap(), redis: Redis::start().unwrap() };
    let mut config = servers.config();
    config.queue.max_bytes = 24 * 1024 * 1024;
    config.postgres.write_timeout_ms = 2_000;
    let service = Service::start(config).await.unwrap();
    let client = Client::of(&service);
    let mut redis = servers.redis().await;
    let name = unique("full");
    let large = || event_with(&name, "event_data", json!({ "text": "x".repeat(1_500_000) }));
    let mut accepted = 0;
    while client.post(EVENTS, &large()).await.status == 202 {
        accepted += 1;
        assert!(accepted < 20, "24 MiB hold 16 of them");
    }
    assert_eq!(accepted, 16);
    assert!(used_memory(&mut redis).await < 48 * 1024 * 1024);
    let two = json!([event(&name), large()]);
    assert_eq!(client.post(BATCH, &two).await.status, 503, "one of them would not fit");
    assert_eq!(servers.queued().await, 16, "and so none is queued");
    assert_eq!(client.post(EVENTS, &event(&name)).await.status, 202, "a small one fits");

    servers.postgres.restart().unwrap();
    client.wait_until_up("postgres").await;
    servers.wait_for_rows(&name, 17).await;
    crate::stand::wait_for("an empty queue", async || servers.queued().await == 0).await;
    let bytes: u64 = redis::cmd("GET").arg("audit:dlq:bytes").query_async(&mut redis).await.unwrap();
    assert_eq!(bytes, 0, "all of it is free again");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_whose_partition_was_detached_gets_another_and_old_months_are_dropped() {
    let servers = Servers::start();
    let service = Service::start(servers.config()).await.unwrap();
    let client = Client::of(&service);
    client.wait_until_up("postgres").await;
    let (name, old) = (unique("kept"), unique("old"));
    assert_eq!(client.post(EVENTS, &event(&name)).await.status, 201);
    let mut sql = servers.sql().await;
    let partition = format!("audit_events_{}", Timestamp::now().strftime("%Y_%m"));
    let detach = format!("ALTER TABLE audit_events DETACH PARTITION {partition}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(detach)).execute(&mut sql).await.unwrap();
    assert_eq!(client.post(EVENTS, &event(&name)).await.status, 201, "while it runs");
    assert_eq!(servers.rows(&name).await, 1);

    // Two months ago and the one before that.
    let now = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).first_of_month().unwrap();
    for months in [2, 3] {
        let time = (&now - months.months()).timestamp().to_string();
        let mut event = event_with(&old, "event_timestamp", time);
        event["event_id"] = json!(uuid::Uuid::new_v4());
        add(&mut servers.redis().await, "event", event.to_string().as_bytes()).await;
    }
    servers.wait_for_rows(&old, 2).await;
    service.stop().await;

    let mut config = servers.config();
    config.postgres.retention_months = Some(2);
    let service = Service::start(config).await.unwrap();
    let client = Client::of(&service);
    client.wait_until_up("postgres").await;
    servers.wait_for_rows(&old, 1).await;
    let ids: i64 = sqlx::query_scalar("SELECT count(*) FROM audit_event_ids").fetch_one(&mut sql).await.unwrap();
    assert_eq!(ids, 3, "the id of what was dropped is forgotten");
    let kept: bool =
        sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(&partition).fetch_one(&mut sql).await.unwrap();
    assert!(kept, "what was detached is nobody's business");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_spoken_to_by_tls_and_must_prove_who_they_are() {
    let mut servers = Servers { postgres: Postgres::make().unwrap(), redis: Redis::make().unwrap() };
    let ca = servers.postgres.use_tls().unwrap();
    let (redis_address, redis_ca) = servers.redis.use_tls().unwrap();
    servers.postgres.restart().unwrap();
    servers.redis.restart().unwrap();
    let mut config = servers.config();
    config.redis.address = redis_address.parse().unwrap();
    config.postgres.tls.enabled = true;
    config.redis.tls.enabled = true;
    // Those whom this machine trusts have not signed it.
    let service = Service::start(config.clone()).await.unwrap();
    let client = Client::of(&service);
    for server in ["postgres", "redis"] {
        crate::stand::wait_for("the certificate to be refused", async || {
            let ready = client.ready().await.body;
            let reason = ready[server]["reason"].as_str().unwrap_or_default().to_lowercase();
            ready[server]["up"] == false && reason.contains("certificate")
        })
        .await;
    }
    service.stop().await;

    config.postgres.tls.ca_file = Some(ca);
    config.redis.tls.ca_file = Some(redis_ca);
    let service = Service::start(config).await.unwrap();
    let client = Client::of(&service);
    client.wait_until_up("postgres").await;
    client.wait_until_up("redis").await;
    assert_eq!(client.post(EVENTS, &event(&unique("tls"))).await.status, 201);
    let encrypted: bool = sqlx::query_scalar(
        "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'datastorage'",
    )
    .fetch_one(&mut servers.sql().await)
    .await
    .unwrap();
    assert!(encrypted, "every connection of the service is encrypted");
    service.stop().await;
}
