//! When a signal is about a problem that is known already.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use api::Phase;
use futures::future::try_join_all;
use kube::api::DeleteParams;

use crate::harness::context::Context;
use crate::harness::signals::Alert;
use crate::harness::spec::specs;

specs!("deduplication":
    s02_a_repeat_while_active_is_a_duplicate_of_the_same_request,
    s03_a_repeat_advances_occurrence_count_and_last_seen,
    s04_a_repeat_in_each_active_phase_is_a_duplicate,
    s60_a_deleted_request_is_made_again_under_a_new_name,
    s05_a_repeat_after_each_terminal_phase_creates_a_new_request,
);

async fn s02_a_repeat_while_active_is_a_duplicate_of_the_same_request(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let alert = Alert::about_pod(&namespace, "checkout-1");
    let created = cx.gateway().alert(alert.clone()).await?.expect_created("a valid alert")?;
    let duplicate = cx.gateway().alert(alert).await?.expect_duplicate_of(&created, "its repeat")?;
    ensure!(duplicate.count == 2, "expected a metadata.count of 2, found {duplicate:?}");
    ensure!(
        duplicate.first_occurrence <= duplicate.last_occurrence,
        "expected firstOccurrence before lastOccurrence, found {duplicate:?}"
    );
    let request = cx.only_request(&namespace).await?;
    let name = request.metadata.name.unwrap_or_default();
    ensure!(name == created.name, "expected the first request {}, found {name}", created.name);
    Ok(())
}

async fn s03_a_repeat_advances_occurrence_count_and_last_seen(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let alert = Alert::about_pod(&namespace, "checkout-1");
    let created = cx.gateway().alert(alert.clone()).await?.expect_created("a valid alert")?;
    let first = cx.await_occurrences(&namespace, &created.name, 1).await?;
    let mut earlier = first.clone();
    for count in 2..=4 {
        let duplicate = cx.gateway().alert(alert.clone()).await?.expect_duplicate_of(&created, "a repeat")?;
        ensure!(duplicate.count == count, "expected a metadata.count of {count}, found {duplicate:?}");
        let now = cx.await_occurrences(&namespace, &created.name, count).await?;
        ensure!(
            now.last_seen_at > earlier.last_seen_at,
            "occurrence {count}: expected a lastSeenAt after {}, found {}",
            earlier.last_seen_at,
            now.last_seen_at
        );
        ensure!(
            now.first_seen_at == first.first_seen_at,
            "occurrence {count}: expected firstSeenAt to stay {}, found {}",
            first.first_seen_at,
            now.first_seen_at
        );
        earlier = now;
    }
    Ok(())
}

async fn s04_a_repeat_in_each_active_phase_is_a_duplicate(cx: Context) -> Result<()> {
    let namespace = &cx.namespace().await?;
    let phases: Vec<Phase> = Phase::ALL.into_iter().filter(|phase| !phase.is_terminal()).collect();
    ensure!(phases.len() == 6, "expected six active phases, found {phases:?}");
    let cx = &cx;
    let repeats = phases.iter().map(|phase| async move {
        let alert = Alert::about_pod(namespace, &format!("{phase:?}").to_lowercase());
        let created = cx.gateway().alert(alert.clone()).await?.expect_created("a valid alert")?;
        cx.set_phase(namespace, &created.name, *phase).await?;
        let repeat = cx.gateway().alert(alert).await?;
        let duplicate = repeat.expect_duplicate_of(&created, &format!("a repeat in phase {phase:?}"))?;
        ensure!(duplicate.count == 2, "a repeat in phase {phase:?}: expected a metadata.count of 2: {repeat}");
        let status = cx.request(namespace, &created.name).await?.status.unwrap_or_default();
        ensure!(
            status.overall_phase == Some(*phase),
            "counting a repeat must not touch the phase {phase:?}, found {status:?}"
        );
        Ok(())
    });
    try_join_all(repeats).await?;
    cx.expect_requests(namespace, phases.len()).await?;
    Ok(())
}

async fn s05_a_repeat_after_each_terminal_phase_creates_a_new_request(cx: Context) -> Result<()> {
    let namespace = &cx.namespace().await?;
    let phases: Vec<Phase> = Phase::ALL.into_iter().filter(|phase| phase.is_terminal()).collect();
    ensure!(phases.len() == 5, "expected five terminal phases, found {phases:?}");
    let cx = &cx;
    let repeats = phases.iter().map(|phase| async move {
        let alert = Alert::about_pod(namespace, &format!("{phase:?}").to_lowercase());
        let old = cx.gateway().alert(alert.clone()).await?.expect_created("a valid alert")?;
        cx.set_phase(namespace, &old.name, *phase).await?;
        let again = cx.gateway().alert(alert.clone()).await?;
        let new = again.expect_created(&format!("a signal after phase {phase:?}"))?;
        ensure!(new.name != old.name, "a signal after phase {phase:?}: expected a new request: {again}");
        ensure!(
            new.fingerprint == old.fingerprint,
            "a signal after phase {phase:?}: expected the fingerprint {} again: {again}",
            old.fingerprint
        );
        // Of the two, the one that is over must not be counted on any more.
        let repeat = cx.gateway().alert(alert).await?;
        repeat.expect_duplicate_of(&new, &format!("a repeat beside a request in phase {phase:?}"))?;
        cx.await_occurrences(namespace, &old.name, 1).await?;
        Ok(())
    });
    try_join_all(repeats).await?;
    cx.expect_requests(namespace, 2 * phases.len()).await?;
    Ok(())
}

async fn s60_a_deleted_request_is_made_again_under_a_new_name(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let alert = Alert::about_pod(&namespace, "checkout-1");
    let mut names = BTreeSet::new();
    for time in 1..=3 {
        let answer = cx.gateway().alert(alert.clone()).await?;
        let created = answer.expect_created(&format!("a signal whose request was deleted {} time(s)", time - 1))?;
        let deleted = cx.requests_in(&namespace).delete(&created.name, &DeleteParams::default()).await;
        deleted.with_context(|| format!("deleting the RemediationRequest {}", created.name))?;
        ensure!(
            names.insert(created.name.clone()),
            "expected a name that was never used, found {} again",
            created.name
        );
    }
    Ok(())
}
