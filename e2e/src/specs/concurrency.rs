//! Many signals at the same time.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::{join_all, try_join_all};

use crate::harness::context::Context;
use crate::harness::gateway::Gateway;
use crate::harness::http::{self, Answer};
use crate::harness::signals::{Alert, webhook};
use crate::harness::spec::specs;

specs!("concurrency":
    s31_a_burst_of_fifty_problems_creates_fifty_requests,
    s32_twenty_problems_at_once_create_twenty_requests,
    #alone(Gateway) s49_three_hundred_groups_at_once_are_three_hundred_requests,
    #alone(Gateway; DataStorage) s33_twenty_identical_signals_at_once_create_one_request_also_with_two_replicas,
);

/// Two replicas race each other so often: a fault that shows in one race in two goes unseen in one run of 32.
const ROUNDS: usize = 5;

async fn s31_a_burst_of_fifty_problems_creates_fifty_requests(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let gateway = &cx.gateway();
    let burst = (0..50).map(|number| gateway.alert(Alert::about_pod(&namespace, &format!("checkout-{number}"))));
    let answers = try_join_all(burst).await?;
    for answer in &answers {
        ensure!(answer.status < 500, "expected no server error in a burst of 50, but {answer}");
        answer.expect_created("one of a burst of 50 different problems")?;
    }
    cx.expect_requests(&namespace, 50).await?;
    Ok(())
}

async fn s32_twenty_problems_at_once_create_twenty_requests(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let gateway = &cx.gateway();
    let at_once = (0..20).map(|number| {
        let name = format!("ledger-{number}");
        gateway.alert(Alert::new("ReplicasMissing").label("namespace", &namespace).label("statefulset", &name))
    });
    let mut names = Vec::new();
    for answer in try_join_all(at_once).await? {
        names.push(answer.expect_created("one of 20 different problems at once")?.name);
    }
    names.sort_unstable();
    names.dedup();
    ensure!(names.len() == 20, "expected 20 different names, found {names:?}");
    cx.expect_requests(&namespace, 20).await?;
    Ok(())
}

async fn s33_twenty_identical_signals_at_once_create_one_request_also_with_two_replicas(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let gateway = cx.gateway();
    let alert = Alert::about_pod(&namespace, "checkout-1");
    let answers = try_join_all((0..20).map(|_| gateway.alert(alert.clone()))).await?;
    expect_one_request(&cx, &namespace, &answers).await?;

    let replicas = cx.surroundings().run_gateways(2).await?;
    let mut gateways = Vec::new();
    for replica in &replicas {
        let client = http::client_that_keeps(10)?;
        let gateway = Gateway::new(client, replica.url(), Some(cx.surroundings().sender_token()));
        // Opens ten connections and has the token looked at, so that the signals themselves are worked on at the very
        // same time.
        let refused = webhook(&[]);
        let opened = (0..10).map(|_| gateway.webhook(&refused));
        try_join_all(opened).await.with_context(|| format!("opening connections to {}", replica.name()))?;
        gateways.push(gateway);
    }
    for round in 0..ROUNDS {
        let namespace = cx.namespace().await?;
        let alert = Alert::about_pod(&namespace, "checkout-1");
        let answers = try_join_all((0..20).map(|number| gateways[number % 2].alert(alert.clone()))).await?;
        let judged = expect_one_request(&cx, &namespace, &answers).await;
        judged.with_context(|| format!("with two replicas, round {round}"))?;
    }
    Ok(())
}

async fn s49_three_hundred_groups_at_once_are_three_hundred_requests(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let gateway = &cx.gateway();
    let mut left: Vec<_> =
        (0..300).map(|number| webhook(&[Alert::about_pod(&namespace, &format!("checkout-{number}"))])).collect();
    // As an Alertmanager does: what is answered 5xx, or not at all, comes again after a while, and nothing else does.
    // <https://github.com/prometheus/alertmanager/blob/v0.28.1/notify/webhook/webhook.go>
    let mut pause = Duration::from_millis(500);
    for _ in 0..5 {
        let answers = join_all(left.iter().map(|body| gateway.webhook(body))).await;
        let refused = answers.iter().flatten().find(|answer| (300..500).contains(&answer.status));
        ensure!(
            refused.is_none(),
            "an Alertmanager does not send again what is answered so: {}",
            refused.map_or(String::new(), ToString::to_string)
        );
        let comes_again = |answer: &Result<Answer>| answer.as_ref().map_or(true, |answer| answer.status >= 500);
        left = left.into_iter().zip(&answers).filter(|(_, answer)| comes_again(answer)).map(|(body, _)| body).collect();
        if left.is_empty() {
            cx.expect_requests(&namespace, 300).await?;
            return Ok(());
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    bail!("{} of 300 groups were not delivered in five tries", left.len())
}

/// Expects that one of the answers tells of a new request and all others of duplicates of it, each counted.
async fn expect_one_request(cx: &Context, namespace: &str, answers: &[Answer]) -> Result<()> {
    let created: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    ensure!(
        created.len() == 1,
        "expected one 201 among {} identical signals at once, found {}; statuses {:?}",
        answers.len(),
        created.len(),
        answers.iter().map(|answer| answer.status).collect::<Vec<_>>()
    );
    let first = created[0].expect_created("the first of identical signals")?;
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        answer.expect_duplicate_of(&first, "one of identical signals at once")?;
    }
    cx.expect_requests(namespace, 1).await?;
    let count = i64::try_from(answers.len())?;
    cx.await_occurrences(namespace, &first.name, count).await?;
    Ok(())
}
