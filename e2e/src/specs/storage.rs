//! datastorage by itself.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::harness::context::Context;
use crate::harness::datastorage::{audit_event, audit_event_at};
use crate::harness::spec::specs;

specs!("storage":
    s40_a_batch_is_an_array_of_valid_events_or_nothing,
    s42_a_limit_is_between_1_and_1000,
    s43_pages_do_not_overlap,
    s58_pages_by_cursor_miss_and_repeat_nothing_while_events_come_in,
    s44_an_event_is_at_most_seven_days_old,
);

async fn s40_a_batch_is_an_array_of_valid_events_or_nothing(cx: Context) -> Result<()> {
    let correlation = cx.unique_name();
    let datastorage = cx.datastorage();
    let event = || audit_event(&correlation);
    datastorage.write_batch(&event()).await?.expect_problem(400, "an object instead of an array")?;
    datastorage.write_batch(&json!([])).await?.expect_problem(400, "an empty batch")?;
    let mut bad = event();
    bad["event_outcome"] = json!("splendid");
    let answer = datastorage.write_batch(&json!([event(), event(), bad, event()])).await?;
    answer.expect_problem(400, "a batch whose third event is bad")?.expect_detail("event 2:")?;
    let many: Vec<Value> = (0..501).map(|_| event()).collect();
    datastorage.write_batch(&json!(many)).await?.expect_problem(400, "a batch of 501")?;
    let stored = datastorage.correlated(&correlation).await?;
    ensure!(stored.is_empty(), "expected a refused batch to leave nothing, found {} events", stored.len());

    let good = [event(), event()];
    let answer = datastorage.store_batch(&json!(good), "a batch of two valid events").await?;
    answer.expect_at("/event_ids", json!([good[0]["event_id"], good[1]["event_id"]]))?;
    let stored = datastorage.correlated(&correlation).await?;
    ensure!(stored.len() == 2, "expected the 2 events of the batch, found {}", stored.len());
    Ok(())
}

async fn s42_a_limit_is_between_1_and_1000(cx: Context) -> Result<()> {
    let datastorage = cx.datastorage();
    for query in ["limit=0", "limit=1001", "limit=-1", "limit=many", "offset=-1"] {
        datastorage.query(query).await?.expect_problem(400, &format!("the query {query}"))?;
    }
    let correlation = cx.unique_name();
    for limit in [1, 1000] {
        let answer = datastorage.query(&format!("limit={limit}&correlation_id={correlation}")).await?;
        answer.expect(200, &format!("a limit of {limit}"))?.expect_at("/pagination/limit", limit)?;
    }
    let answer = datastorage.query(&format!("correlation_id={correlation}")).await?;
    answer.expect(200, "a query without a limit")?.expect_at("/pagination/limit", 50)?;
    answer.expect_at("/data", json!([]))?.expect_at("/pagination/total", 0)?;
    Ok(())
}

async fn s43_pages_do_not_overlap(cx: Context) -> Result<()> {
    let correlation = cx.unique_name();
    let datastorage = cx.datastorage();
    // Two of the five have the same time: the order must be total for pages not to overlap.
    let ages_s = [10, 20, 20, 30, 40];
    let mut events = ages_s.map(|age| audit_event_at(&correlation, SignedDuration::from_secs(-age)));
    events[2]["event_timestamp"] = events[1]["event_timestamp"].clone();
    datastorage.store_batch(&json!(events), "a batch of five").await?;

    let mut seen = Vec::new();
    for (offset, count, more) in [(0, 2, true), (2, 2, true), (4, 1, false), (6, 0, false)] {
        let query = format!("correlation_id={correlation}&limit=2&offset={offset}");
        let answer = datastorage.query(&query).await?;
        answer.expect(200, "a page")?.expect_at("/pagination/total", 5)?.expect_at("/pagination/has_more", more)?;
        answer.expect_at("/pagination/offset", offset)?;
        let page = answer.body["data"].as_array().cloned().unwrap_or_default();
        ensure!(page.len() == count, "expected {count} events at offset {offset}, but {answer}");
        seen.extend(page);
    }
    let ids: BTreeSet<&str> = seen.iter().filter_map(|event| event["event_id"].as_str()).collect();
    ensure!(ids.len() == 5, "expected five different events on the pages, found {ids:?}");
    let first_and_last = (&seen[0]["event_id"], &seen[4]["event_id"]);
    ensure!(
        first_and_last == (&events[0]["event_id"], &events[4]["event_id"]),
        "expected the newest event first and the oldest last, found {first_and_last:?}"
    );
    Ok(())
}

async fn s58_pages_by_cursor_miss_and_repeat_nothing_while_events_come_in(cx: Context) -> Result<()> {
    let correlation = cx.unique_name();
    let datastorage = cx.datastorage();
    // Three of each second: a page may end among events of the same time.
    let first = Timestamp::now();
    let events: Vec<Value> = (0..40)
        .map(|number| {
            let mut event = audit_event(&correlation);
            event["event_timestamp"] = json!(first - SignedDuration::from_secs(60 + number / 3));
            event
        })
        .collect();
    datastorage.store_batch(&json!(events), "forty events").await?;
    let newer_and_older = || {
        let ages_s = [0, 1, 90, 120];
        json!(ages_s.map(|age| audit_event_at(&correlation, SignedDuration::from_secs(-age))))
    };
    let (mut seen, mut after, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let query = format!("correlation_id={correlation}&limit=7{after}");
        let written = newer_and_older();
        let (answer, _) =
            tokio::try_join!(datastorage.query(&query), datastorage.store_batch(&written, "events beside a page"))?;
        answer.expect(200, "a page by cursor")?;
        let page = answer.body["data"].as_array().cloned().unwrap_or_default();
        ensure!(page.len() <= 7, "expected 7 events on a page at most: {answer}");
        seen.extend(page.iter().map(|event| event["event_id"].as_str().unwrap_or("none").to_owned()));
        pages += 1;
        ensure!(pages < 60, "expected the pages to come to an end, there were {pages}");
        if answer.body["pagination"]["has_more"] != true {
            break;
        }
        after = format!("&after={}", answer.text_at("/pagination/next")?);
    }
    ensure!(pages > 5, "expected several pages, there were {pages}");
    let different: BTreeSet<&str> = seen.iter().map(String::as_str).collect();
    ensure!(
        different.len() == seen.len(),
        "expected no event twice, {} of {} are",
        seen.len() - different.len(),
        seen.len()
    );
    let missing =
        events.iter().filter_map(|event| event["event_id"].as_str()).filter(|id| !different.contains(id)).count();
    ensure!(missing == 0, "expected all events that were there before the first page, {missing} are missing");
    Ok(())
}

async fn s44_an_event_is_at_most_seven_days_old(cx: Context) -> Result<()> {
    let correlation = cx.unique_name();
    let datastorage = cx.datastorage();
    for (what, from_now) in [
        ("an event of 8 days ago", SignedDuration::from_hours(-8 * 24)),
        ("an event 6 minutes ahead", SignedDuration::from_mins(6)),
    ] {
        datastorage.write(&audit_event_at(&correlation, from_now)).await?.expect_problem(400, what)?;
    }
    let stored = datastorage.correlated(&correlation).await?;
    ensure!(stored.is_empty(), "expected refused events to leave nothing, found {stored:?}");
    for (what, from_now) in [
        ("an event of 6 days ago", SignedDuration::from_hours(-6 * 24)),
        ("an event 4 minutes ahead", SignedDuration::from_mins(4)),
    ] {
        let event = audit_event_at(&correlation, from_now);
        let answer = datastorage.store(&event, what).await?;
        answer.expect_at("/event_id", event["event_id"].clone())?;
        answer.text_at("/event_timestamp")?;
    }
    let stored = datastorage.correlated(&correlation).await?;
    ensure!(stored.len() == 2, "expected the 2 accepted events, found {stored:?}");
    Ok(())
}
