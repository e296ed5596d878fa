//! A delivery of several alerts: each is worked on by itself, and what fails in a way that may heal makes the whole come
//! again.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use jiff::Timestamp;
use tokio::time::Instant;

use super::api::App;
use super::progress::{Key, Keys, Notes, Step, Try};
use super::told::{Many, Told};
use crate::problem::Problem;
use crate::signal::prometheus::{Delivery, Item};

/// Alerts of one delivery that are worked on at once: enough to hide the API server's latency, too few to crowd out
/// other senders.
const AT_ONCE: usize = 16;

type Outcome = Result<Told, Problem>;

/// Works on all alerts of a delivery.
///
/// # Errors
/// When none of them is of now.
pub(super) async fn many(
    app: &App,
    delivery: &Delivery<'_>,
    dated: Option<Timestamp>,
    deadline: Instant,
) -> Result<Response, Problem> {
    let mut keys = Keys::new(delivery.common_labels_text());
    let keys: Vec<Key> = delivery.alerts().map(|alert| keys.next(alert)).collect();
    let (attempt, known) = Try::begin(&app.progress, &keys);
    let mut outcomes: Vec<Option<Outcome>> = Vec::with_capacity(keys.len());
    let mut order = (Vec::new(), Vec::new());
    for (index, step) in known.into_iter().enumerate() {
        match step {
            Some(Step::Done(outcome)) => {
                outcomes.push(Some(*outcome));
                continue;
            }
            // Last, so that those that fail slowly do not keep the others from their turn for ever.
            Some(Step::Failed) => order.1.push(index),
            None => order.0.push(index),
        }
        outcomes.push(None);
    }
    let (untried, failed) = order;
    let mut work = futures::stream::iter(untried.into_iter().chain(failed))
        .map(async |index| {
            let outcome = one(app, delivery, index, dated, deadline, &attempt, keys[index]).await;
            (index, outcome)
        })
        .buffer_unordered(AT_ONCE);
    while let Some((index, outcome)) = work.next().await {
        if let Err(reason) = outcome.as_ref().map_err(|problem| problem.reason)
            && let Some(reason) = reason
        {
            app.pipeline.metrics.count_rejected(reason);
        }
        outcomes[index] = Some(outcome);
    }
    drop(work);
    let outcomes: Vec<Outcome> =
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| Err(Problem::deadline_exceeded()))).collect();
    let retry_after_seconds = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()?.retry_after_seconds()).max();
    if retry_after_seconds.is_none() {
        attempt.answered();
    }
    // Where nothing is left, the sender's clock is wrong, not an alert.
    if let Some(Err(first)) = outcomes.first()
        && outcomes.iter().all(|outcome| outcome.as_ref().is_err_and(Problem::is_stale))
    {
        // Each was counted above already.
        return Err(first.clone().uncounted());
    }
    let status = if retry_after_seconds.is_some() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::MULTI_STATUS };
    let results = outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|problem| Told::failed(&problem)));
    let mut answer = (status, Json(Many::new(results.collect(), delivery.truncated_alerts))).into_response();
    if let Some(seconds) = retry_after_seconds {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    Ok(answer)
}

async fn one(
    app: &App,
    delivery: &Delivery<'_>,
    index: usize,
    dated: Option<Timestamp>,
    deadline: Instant,
    attempt: &Try,
    key: Key,
) -> Outcome {
    if Instant::now() >= deadline {
        return Err(Problem::deadline_exceeded());
    }
    match delivery.read(index, dated) {
        Item::Firing(signal) => {
            let notes = attempt.notes();
            let told = move |outcome: Result<_, _>| note(&notes, key, outcome.map(Told::from));
            let outcome = app.pipeline.take(*signal, delivery.bytes_of(index), deadline, told).await;
            outcome.unwrap_or_else(|| Err(note_failure(attempt, key)))
        }
        // Found out anew at each try.
        Item::Resolved => Ok(Told::ignored()),
        Item::Invalid(problem) => Err(problem),
    }
}

fn note(notes: &Notes, key: Key, outcome: Outcome) -> Outcome {
    notes.note(key, Step::of(&outcome));
    outcome
}

fn note_failure(attempt: &Try, key: Key) -> Problem {
    attempt.notes().note(key, Step::Failed);
    Problem::deadline_exceeded()
}
