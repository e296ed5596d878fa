//! How old or how far ahead a signal may be.

use anyhow::{Result, ensure};
use jiff::{SignedDuration, Timestamp};
use reqwest::header::HeaderName;
use serde_json::{Value, json};

use crate::harness::context::Context;
use crate::harness::gateway::{KUBERNETES_EVENT, PROMETHEUS};
use crate::harness::http::Answer;
use crate::harness::signals::{Alert, event, webhook, whole_seconds};
use crate::harness::spec::specs;

specs!("freshness":
    s21_a_signal_without_any_time_is_refused,
    s22_a_signal_that_is_stale_is_refused,
    s23_a_signal_from_the_future_is_refused_but_for_small_clock_skew,
    s24_a_timestamp_that_is_no_number_is_refused,
);

const TOO_OLD: &str = "timestamp too old: possible replay attack";
const TOO_FAR_AHEAD: &str = "timestamp in future: possible clock skew attack";
const NO_NUMBER: &str = "invalid timestamp format";

/// Every member of an Event in which a time can be.
const EVENT_TIMES: [&str; 4] = ["firstTimestamp", "lastTimestamp", "eventTime", "series"];

/// Sends a body with an `X-Timestamp`.
async fn send_stamped(cx: &Context, path: &str, body: &Value, timestamp: &str) -> Result<Answer> {
    let request = cx.gateway().post(path).header(HeaderName::from_static("x-timestamp"), timestamp);
    request.json(body).send().await
}

/// Unix seconds, that far from now.
fn seconds_from_now(from_now: SignedDuration) -> String {
    (Timestamp::now() + from_now).as_second().to_string()
}

/// An event without any time in it.
fn timeless_event(namespace: &str, name: &str) -> Value {
    let mut body = event(namespace, "Pod", name, "BackOff");
    for member in EVENT_TIMES {
        body[member] = Value::Null;
    }
    body
}

async fn s21_a_signal_without_any_time_is_refused(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let alert = Alert::about_pod(&namespace, "checkout-1").without_start();
    cx.gateway().alert(alert.clone()).await?.expect_problem(400, "an alert without startsAt or X-Timestamp")?;
    let timeless = timeless_event(&namespace, "checkout-2");
    cx.gateway().event(&timeless).await?.expect_problem(400, "an event without any time or X-Timestamp")?;
    let mut absent = timeless.clone();
    if let Some(members) = absent.as_object_mut() {
        members.retain(|member, _| !EVENT_TIMES.contains(&member.as_str()));
    }
    cx.gateway().event(&absent).await?.expect_problem(400, "an event that lacks the members of its times")?;
    cx.expect_requests(&namespace, 0).await?;

    // The header alone is enough, and so is any of an event's times.
    let now = seconds_from_now(SignedDuration::ZERO);
    let stamped = send_stamped(&cx, PROMETHEUS, &webhook(&[alert]), &now).await?;
    stamped.expect_created("an alert without startsAt but with X-Timestamp")?;
    let now = json!(Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string());
    for (name, member, value) in [
        ("by-event-time", "eventTime", now.clone()),
        ("by-series", "series", json!({"count": 2, "lastObservedTime": now})),
        ("by-first", "firstTimestamp", json!(whole_seconds(Timestamp::now()))),
    ] {
        let mut body = timeless_event(&namespace, name);
        body[member] = value;
        cx.gateway().event(&body).await?.expect_created(&format!("an event whose only time is in {member}"))?;
    }
    Ok(())
}

async fn s22_a_signal_that_is_stale_is_refused(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let (stale, fresh) = (SignedDuration::from_secs(-310), SignedDuration::from_secs(-240));
    let alert = webhook(&[Alert::about_pod(&namespace, "checkout-1")]);
    let warning = event(&namespace, "Pod", "checkout-2", "BackOff");
    for (path, body) in [(PROMETHEUS, &alert), (KUBERNETES_EVENT, &warning)] {
        let answer = send_stamped(&cx, path, body, &seconds_from_now(stale)).await?;
        answer.expect_problem(400, "an X-Timestamp of more than 5 minutes ago")?.expect_detail(TOO_OLD)?;
    }
    let mut old = timeless_event(&namespace, "checkout-3");
    old["lastTimestamp"] = json!(whole_seconds(Timestamp::now() + stale));
    cx.gateway().event(&old).await?.expect_problem(400, "an event last seen more than 5 minutes ago")?;
    // The first time that is set counts, not the newest.
    old["firstTimestamp"] = json!(whole_seconds(Timestamp::now()));
    cx.gateway().event(&old).await?.expect_problem(400, "the same with a firstTimestamp of now")?;
    cx.expect_requests(&namespace, 0).await?;

    for (path, body) in [(PROMETHEUS, &alert), (KUBERNETES_EVENT, &warning)] {
        let answer = send_stamped(&cx, path, body, &seconds_from_now(fresh)).await?;
        answer.expect_created("an X-Timestamp of 4 minutes ago")?;
    }
    let mut recent = timeless_event(&namespace, "checkout-4");
    recent["lastTimestamp"] = json!(whole_seconds(Timestamp::now() + fresh));
    cx.gateway().event(&recent).await?.expect_created("an event last seen 4 minutes ago")?;
    let firing_for_days = Alert::about_pod(&namespace, "checkout-5").starting_in(SignedDuration::from_hours(-72));
    cx.gateway().alert(firing_for_days).await?.expect_created("an alert that has been firing for three days")?;
    Ok(())
}

async fn s23_a_signal_from_the_future_is_refused_but_for_small_clock_skew(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let (far, near) = (SignedDuration::from_mins(3), SignedDuration::from_mins(1));
    let alert = webhook(&[Alert::about_pod(&namespace, "checkout-1")]);
    let warning = event(&namespace, "Pod", "checkout-2", "BackOff");
    for (path, body) in [(PROMETHEUS, &alert), (KUBERNETES_EVENT, &warning)] {
        let answer = send_stamped(&cx, path, body, &seconds_from_now(far)).await?;
        answer.expect_problem(400, "an X-Timestamp 3 minutes ahead")?.expect_detail(TOO_FAR_AHEAD)?;
    }
    let ahead = Alert::about_pod(&namespace, "checkout-3");
    let answer = cx.gateway().alert(ahead.clone().starting_in(far)).await?;
    answer.expect_problem(400, "a startsAt 3 minutes ahead")?.expect_detail(TOO_FAR_AHEAD)?;
    let both = webhook(&[ahead.clone().starting_in(far), ahead.clone().starting_in(far)]);
    cx.gateway().webhook(&both).await?.expect_problem(400, "a group of which every alert is 3 minutes ahead")?;
    cx.expect_requests(&namespace, 0).await?;

    // One exporter's clock is not its neighbours' fault.
    let group = ["one", "two", "three"].map(|pod| Alert::about_pod(&namespace, pod));
    let mut group = Vec::from(group);
    group.insert(1, Alert::about_pod(&namespace, "ahead").starting_in(far));
    let answer = cx.gateway().webhook(&webhook(&group)).await?;
    answer.expect(207, "a group of four alerts of which one is 3 minutes ahead")?;
    answer.expect_at("/summary/created", 3)?.expect_at("/summary/failed", 1)?;
    answer.expect_at("/results/1/status", "failed")?.expect_at("/results/1/retryable", false)?;
    cx.expect_requests(&namespace, 3).await?;

    for (path, body) in [(PROMETHEUS, &alert), (KUBERNETES_EVENT, &warning)] {
        let answer = send_stamped(&cx, path, body, &seconds_from_now(near)).await?;
        answer.expect_created("an X-Timestamp 1 minute ahead")?;
    }
    cx.gateway().alert(ahead.starting_in(near)).await?.expect_created("a startsAt 1 minute ahead")?;
    Ok(())
}

async fn s24_a_timestamp_that_is_no_number_is_refused(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let alert = webhook(&[Alert::about_pod(&namespace, "checkout-1")]);
    let warning = event(&namespace, "Pod", "checkout-2", "BackOff");
    for (path, body) in [(PROMETHEUS, &alert), (KUBERNETES_EVENT, &warning)] {
        for timestamp in ["yesterday", "2025-12-01T09:30:00Z", "17e8x", "99999999999999999999999"] {
            let answer = send_stamped(&cx, path, body, timestamp).await?;
            answer.expect_problem(400, &format!("the X-Timestamp {timestamp}"))?.expect_detail(NO_NUMBER)?;
        }
    }
    let requests = cx.expect_requests(&namespace, 0).await?;
    ensure!(requests.is_empty(), "no signal was accepted, yet there are {requests:?}");
    Ok(())
}
