//! What is asked and what is answered, while everything works.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::stand::{Answer, BATCH, EVENTS, event, event_with, hours_ago, shared, unique};

/// Checks that an answer is a refusal of what was sent, and says why.
fn assert_refused(answer: &Answer, word: &str) {
    let detail = answer.body["detail"].as_str().unwrap_or_default();
    assert!(answer.status == 400 && detail.contains(word), "400 with `{word}` is expected: {answer:?}");
}

#[test]
fn an_event_is_stored_and_reads_back_as_it_was_sent() {
    let stand = shared();
    stand.run(async {
        let name = unique("whole");
        let mut sent = event(&name);
        let more = json!({
            "event_id": Uuid::new_v4(),
            "event_timestamp": "2025-01-01T00:00:00Z",
            "event_data": { "big": 12345678901234567890123456789_f64, "text": "\u{e9}\u{1F600}\"\\", "list": [1, null, true] },
            "actor_type": "service", "actor_id": "gateway-1", "resource_type": "Pod", "resource_id": "ns/api-0",
            "namespace": "ns", "severity": "critical", "duration_ms": 12, "parent_event_id": Uuid::new_v4(),
        });
        for (key, value) in more.as_object().unwrap() {
            sent[key] = value.clone();
        }
        sent["event_timestamp"] = json!(Timestamp::from_microsecond(hours_ago(1).as_microsecond()).unwrap());
        let answer = stand.client.post(EVENTS, &sent).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.body, json!({ "event_id": sent["event_id"], "event_timestamp": sent["event_timestamp"] }));

        let listed = stand.client.get(&format!("{EVENTS}?correlation_id={name}")).await;
        assert_eq!(listed.status, 200, "{listed:?}");
        assert_eq!(listed.body["pagination"], json!({ "limit": 50, "offset": 0, "total": 1, "total_is_exact": true, "has_more": false }));
        let mut stored = listed.body["data"][0].clone();
        let recorded = stored.as_object_mut().unwrap().remove("recorded_at").unwrap();
        assert!(recorded.as_str().unwrap().parse::<Timestamp>().is_ok(), "recorded_at is a time");
        assert_eq!(stored, sent);
    });
}

#[test]
fn an_event_without_an_id_is_given_one_and_numbers_keep_every_digit() {
    let stand = shared();
    stand.run(async {
        let name = unique("digits");
        let body = event(&name).to_string().replace("\"HighMemory\"", "123456789012345678901234567890.125");
        let answer = stand.client.post_bytes(EVENTS, body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let id: Uuid = answer.body["event_id"].as_str().unwrap().parse().unwrap();
        let kept: String = sqlx::query_scalar("SELECT event_data->>'signal' FROM audit_events WHERE event_id = $1")
            .bind(id)
            .fetch_one(&mut stand.servers.sql().await)
            .await
            .unwrap();
        assert_eq!(kept, "123456789012345678901234567890.125");
    });
}

#[test]
fn every_required_field_is_required() {
    let stand = shared();
    stand.run(async {
        let fields = [
            "version",
            "event_type",
            "event_timestamp",
            "event_category",
            "event_action",
            "event_outcome",
            "correlation_id",
            "event_data",
        ];
        for field in fields {
            let mut event = event("none");
            event.as_object_mut().unwrap().remove(field);
            assert_refused(&stand.client.post(EVENTS, &event).await, &format!("{field}: is required"));
        }
    });
}

#[test]
fn values_out_of_range_are_refused() {
    let stand = shared();
    let long = |length: usize| Value::from("\u{e9}".repeat(length));
    let cases = [
        ("event_type", long(101)),
        ("event_type", json!("")),
        ("event_type", json!(7)),
        ("correlation_id", long(256)),
        ("correlation_id", json!("a\u{0}b")),
        ("event_category", json!("kitchen")),
        ("event_outcome", json!("Success")),
        ("event_data", json!([1])),
        ("event_data", json!("text")),
        ("event_data", json!({ "a": { "b": "x\u{0}" } })),
        ("event_data", json!({ "x\u{0}": 1 })),
        ("event_timestamp", json!("yesterday")),
        ("event_timestamp", json!("2025-12-01T09:30:00")),
        ("event_timestamp", json!(1_700_000_000)),
        ("event_id", json!("not-an-id")),
        ("event_id", json!(Uuid::nil())),
        ("parent_event_id", json!("")),
        ("duration_ms", json!(-1)),
        ("duration_ms", json!(1.5)),
        ("severity", json!("")),
        ("severty", json!("critical")),
    ];
    stand.run(async {
        for (field, value) in cases {
            let answer = stand.client.post(EVENTS, &event_with("none", field, value)).await;
            assert_refused(&answer, field);
        }
        // The longest that is allowed, counted in characters and not in bytes.
        let longest = event_with(&"\u{e9}".repeat(255), "event_type", long(100));
        assert_eq!(stand.client.post(EVENTS, &longest).await.status, 201);
    });
}

#[test]
fn json_that_postgresql_cannot_hold_is_refused() {
    let stand = shared();
    stand.run(async {
        let long = "1".repeat(500);
        let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        let parts = ["\"\\ud800\"", "\"\\u0000\"", "1e999", "1e-999", "0.1e-99999999999999999999", &long, &deep];
        for part in parts {
            let body = event("none").to_string().replace("\"HighMemory\"", part);
            assert_refused(&stand.client.post_bytes(EVENTS, body).await, "event_data");
        }
    });
}

#[test]
fn event_timestamp_may_be_seven_days_old_and_five_minutes_ahead() {
    let stand = shared();
    stand.run(async {
        let name = unique("age");
        let minute = 60;
        let cases = [
            (-7 * 24 * 3600 + minute, 201),
            (-7 * 24 * 3600 - minute, 400),
            (-8 * 24 * 3600, 400),
            (4 * minute, 201),
            (6 * minute, 400),
        ];
        for (seconds, status) in cases {
            let time = Timestamp::now() + SignedDuration::from_secs(seconds);
            let answer = stand.client.post(EVENTS, &event_with(&name, "event_timestamp", time.to_string())).await;
            assert_eq!(answer.status, status, "{seconds} s: {answer:?}");
        }
    });
}

#[test]
fn a_repeat_of_an_event_id_is_accepted_once() {
    let stand = shared();
    stand.run(async {
        let name = unique("repeat");
        let id = Uuid::new_v4();
        let mut first = event_with(&name, "event_id", id.to_string());
        // In whole seconds, so that the answer is written alike.
        first["event_timestamp"] = json!(Timestamp::from_second(hours_ago(2).as_second()).unwrap());
        let mut second = first.clone();
        // It may fall into another month, and so into another partition.
        second["event_timestamp"] = json!(hours_ago(6 * 24));
        for event in [&first, &first, &second] {
            let answer = stand.client.post(EVENTS, event).await;
            assert_eq!(answer.status, 201, "{answer:?}");
            assert_eq!(answer.body["event_timestamp"], first["event_timestamp"], "the first one counts");
        }
        let answer = stand.client.post(BATCH, &json!([second, first, second, event(&name)])).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(stand.servers.rows(&name).await, 2, "one with the id, and the one of the batch that had none");
    });
}

#[test]
fn concurrent_repeats_are_stored_once() {
    let stand = shared();
    stand.run(async {
        let name = unique("race");
        let mut batch: Vec<Value> =
            (0..20).map(|_| event_with(&name, "event_id", Uuid::new_v4().to_string())).collect();
        let mut posts = tokio::task::JoinSet::new();
        for turn in 0..16 {
            // Each in another order: two writers must not wait for each other in a circle.
            batch.rotate_left(turn);
            let (client, body) = (stand.client.clone(), Value::from(batch.clone()));
            posts.spawn(async move { client.post(BATCH, &body).await.status });
        }
        assert_eq!(posts.join_all().await, vec![201; 16]);
        assert_eq!(stand.servers.rows(&name).await, 20);
    });
}

#[test]
fn a_batch_is_stored_whole_or_not_at_all() {
    let stand = shared();
    stand.run(async {
        let name = unique("batch");
        let whole: Vec<Value> = (0..500).map(|_| event(&name)).collect();
        let answer = stand.client.post(BATCH, &Value::from(whole)).await;
        assert_eq!(answer.status, 201);
        assert_eq!(answer.body["event_ids"].as_array().unwrap().len(), 500);
        assert_eq!(stand.servers.rows(&name).await, 500);

        let spoiled = unique("spoiled");
        let mut batch: Vec<Value> = (0..5).map(|_| event(&spoiled)).collect();
        batch[3]["event_outcome"] = json!("maybe");
        let answer = stand.client.post(BATCH, &Value::from(batch)).await;
        assert_refused(&answer, "event 3: event_outcome");
        assert_eq!(answer.body["index"], 3);
        assert_eq!(stand.servers.rows(&spoiled).await, 0);

        assert_refused(&stand.client.post(BATCH, &json!([])).await, "1 to 500");
        let many: Vec<Value> = (0..501).map(|_| event(&spoiled)).collect();
        assert_refused(&stand.client.post(BATCH, &Value::from(many)).await, "501");
        assert_refused(&stand.client.post(BATCH, &event(&spoiled)).await, "not an array of events");
        assert_refused(&stand.client.post(BATCH, &json!([1])).await, "event 0");
    });
}

#[test]
fn event_ids_of_a_batch_come_in_its_order() {
    let stand = shared();
    stand.run(async {
        let name = unique("order");
        let ids: Vec<Uuid> = (0..10).map(|_| Uuid::new_v4()).collect();
        let batch: Vec<Value> = ids.iter().map(|id| event_with(&name, "event_id", id.to_string())).collect();
        assert_eq!(stand.client.post(BATCH, &Value::from(batch)).await.body["event_ids"], json!(ids));
    });
}

#[test]
fn filters_narrow() {
    let stand = shared();
    stand.run(async {
        let name = unique("filter");
        let yesterday = hours_ago(30);
        for (event_type, category, outcome, severity, time) in [
            ("a.one", "gateway", "success", "critical", hours_ago(1)),
            ("a.two", "workflow", "failure", "warning", hours_ago(2)),
            ("a.two", "workflow", "pending", "info", yesterday),
        ] {
            let mut event = event_with(&name, "event_type", event_type);
            event["event_category"] = json!(category);
            event["event_outcome"] = json!(outcome);
            event["severity"] = json!(severity);
            event["event_timestamp"] = json!(time);
            assert_eq!(stand.client.post(EVENTS, &event).await.status, 201);
        }
        let day = yesterday.strftime("%Y-%m-%d").to_string();
        let exactly = yesterday.to_string();
        let cases = [
            ("", 3),
            ("&event_type=a.two", 2),
            ("&event_category=workflow", 2),
            ("&event_outcome=pending", 1),
            ("&severity=critical", 1),
            ("&severity=critical&event_category=workflow", 0),
            ("&since=24h", 2),
            ("&since=90m", 1),
            ("&since=7d", 3),
            ("&until=24h", 1),
            (&format!("&until={day}"), 1),
            (&format!("&since={day}"), 3),
            (&format!("&since={exactly}&until={exactly}"), 1),
        ];
        for (filter, total) in cases {
            let answer = stand.client.get(&format!("{EVENTS}?correlation_id={name}{filter}")).await;
            assert_eq!(answer.body["pagination"]["total"], total, "{filter}: {answer:?}");
            assert_eq!(answer.body["data"].as_array().unwrap().len(), total, "{filter}");
        }
    });
}

#[test]
fn pages_are_newest_first_and_do_not_overlap() {
    let stand = shared();
    stand.run(async {
        let name = unique("pages");
        // All of one time in threes: the order must be settled beyond the time.
        let batch: Vec<Value> =
            (0..30).map(|n| event_with(&name, "event_timestamp", hours_ago(n / 3 + 1).to_string())).collect();
        assert_eq!(stand.client.post(BATCH, &Value::from(batch)).await.status, 201);
        let (mut ids, mut times) = (Vec::new(), Vec::new());
        for offset in (0..35).step_by(7) {
            let answer = stand.client.get(&format!("{EVENTS}?correlation_id={name}&limit=7&offset={offset}")).await;
            let data = answer.body["data"].as_array().unwrap();
            let pagination = &answer.body["pagination"];
            assert_eq!((&pagination["limit"], &pagination["offset"]), (&json!(7), &json!(offset)));
            assert_eq!((&pagination["total"], &pagination["total_is_exact"]), (&json!(30), &json!(true)));
            assert_eq!(pagination["has_more"], offset + data.len() < 30, "{pagination}");
            ids.extend(data.iter().map(|event| event["event_id"].as_str().unwrap().to_owned()));
            times.extend(
                data.iter().map(|event| event["event_timestamp"].as_str().unwrap().parse::<Timestamp>().unwrap()),
            );
        }
        assert_eq!(ids.len(), 30, "all pages together hold everything");
        assert!(times.is_sorted_by(|a, b| a >= b), "newest first");
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 30, "no event is on two pages");
    });
}

#[test]
fn queries_that_make_no_sense_are_refused() {
    let stand = shared();
    stand.run(async {
        for query in [
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=many",
            "offset=-1",
            "offset=x",
            "offset=100001",
            "after=soon",
            "after=1_2",
            "after=999999999999999999_00000000000000000000000000000001",
            "total=maybe",
            "since=soon",
            "until=2025-13-01",
            "since=1h&until=2h",
            "since=-1h",
            "since=99999999999999999999d",
            "since=",
            "correlation_id=",
            "correlation_id=a%00b",
            "event_category=kitchen",
            "event_outcome=maybe",
            "corelation_id=a",
            "limit=1&limit=2",
            "until=9999999d",
            "since=%F0%9F%98%80",
        ] {
            let answer = stand.client.get(&format!("{EVENTS}?{query}")).await;
            assert_refused(&answer, query.split('=').next().unwrap());
        }
    });
}

/// Fills a correlation with rows of which `count` have each second, the newest now; their event_data has `bytes`.
async fn fill(stand: &crate::stand::Stand, name: &str, rows: i32, bytes: i32) {
    sqlx::query(
        "WITH made AS (SELECT gen_random_uuid() AS id, date_trunc('second', now()) - (n / 3) * interval '1 s' AS at
                       FROM generate_series(0, $2 - 1) AS n)
         INSERT INTO audit_events (event_id, event_date, event_timestamp, version, event_type, event_category,
                                   event_action, event_outcome, correlation_id, event_data)
         SELECT id, (at AT TIME ZONE 'UTC')::date, at, '1', 'a.b', 'gateway', 'a', 'success', $1,
                jsonb_build_object('text', repeat('x', $3)) FROM made",
    )
    .bind(name)
    .bind(rows)
    .bind(bytes)
    .execute(&mut stand.servers.sql().await)
    .await
    .unwrap();
}

/// Follows the pages to their end, and does `between` after each.
async fn follow(stand: &crate::stand::Stand, query: &str, mut between: impl AsyncFnMut()) -> Vec<Vec<Value>> {
    let (mut pages, mut after) = (Vec::new(), String::new());
    loop {
        let answer = stand.client.get(&format!("{EVENTS}?{query}{after}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        pages.push(answer.body["data"].as_array().unwrap().clone());
        let pagination = &answer.body["pagination"];
        assert_eq!(pagination["has_more"], pagination["next"].is_string(), "{pagination}");
        let Some(next) = pagination["next"].as_str() else { return pages };
        after = format!("&after={next}");
        between().await;
    }
}

#[test]
fn pages_by_cursor_miss_and_repeat_nothing_while_rows_come_in() {
    let stand = shared();
    stand.run(async {
        let name = unique("cursor");
        fill(stand, &name, 100, 10).await;
        let pages = follow(stand, &format!("correlation_id={name}&limit=7"), async || {
            // Newer ones would move what a page by offset shows; older ones are still to come.
            let batch = json!([event(&name), event_with(&name, "event_timestamp", json!(hours_ago(2)))]);
            assert_eq!(stand.client.post(BATCH, &batch).await.status, 201);
        })
        .await;
        let ids: Vec<String> = pages.concat().iter().map(|event| event["event_id"].to_string()).collect();
        let mut different = ids.clone();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), ids.len(), "none twice");
        let known: Vec<Uuid> =
            sqlx::query_scalar("SELECT event_id FROM audit_events WHERE correlation_id = $1 AND event_type = 'a.b'")
                .bind(&name)
                .fetch_all(&mut stand.servers.sql().await)
                .await
                .unwrap();
        assert_eq!(known.len(), 100);
        assert!(known.iter().all(|id| different.contains(&format!("\"{id}\""))), "none missing");
    });
}

#[test]
fn a_page_is_bounded_in_bytes() {
    let stand = shared();
    stand.run(async {
        let name = unique("large");
        fill(stand, &name, 12, 1024 * 1024).await;
        let pages = follow(stand, &format!("correlation_id={name}&limit=1000"), async || {}).await;
        let sizes: Vec<usize> = pages.iter().map(Vec::len).collect();
        assert_eq!(sizes, [3, 3, 3, 3], "of a mebibyte each, three fit into four");
    });
}

#[test]
fn what_no_index_finds_is_looked_for_a_bounded_way_at_a_time() {
    let stand = shared();
    stand.run(async {
        let name = unique("sparse");
        fill(stand, &name, 45_000, 10).await;
        let old = event_with(&name, "event_timestamp", json!(hours_ago(24)));
        let mut failed = old.clone();
        failed["event_outcome"] = json!("failure");
        assert_eq!(stand.client.post(BATCH, &json!([old, failed])).await.status, 201);
        let pages = follow(stand, &format!("correlation_id={name}&event_outcome=failure"), async || {}).await;
        let sizes: Vec<usize> = pages.iter().map(Vec::len).collect();
        assert_eq!(sizes, [0, 0, 1], "20,000 rows are looked through for a page");

        let total = async |query: &str| {
            let answer = stand.client.get(&format!("{EVENTS}?correlation_id={name}{query}")).await;
            let pagination = &answer.body["pagination"];
            (pagination["total"].as_i64().unwrap(), pagination["total_is_exact"].as_bool().unwrap())
        };
        assert_eq!(total("").await, (1000, false));
        assert_eq!(total("&event_outcome=failure").await, (0, false), "none among the newest");
        assert_eq!(total("&event_outcome=failure&total=exact").await, (1, true));
        assert_eq!(total("&total=exact").await, (45_002, true));
    });
}
