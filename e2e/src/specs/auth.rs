//! Who may send signals.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use reqwest::header::AUTHORIZATION;
use serde_json::json;

use crate::harness::context::{Context, SOON};
use crate::harness::datastorage::audit_event;
use crate::harness::gateway::{KUBERNETES_EVENT, PROMETHEUS};
use crate::harness::signals::{Alert, event, webhook};
use crate::harness::spec::{Alone, specs};
use crate::harness::surroundings::Part;
use crate::harness::wait::eventually;

/// The longest that a positive answer about a token may be believed.
const TOKEN_GOOD_FOR: Duration = Duration::from_secs(60);

specs!("auth":
    s54_a_deleted_accounts_token_is_refused,
    s57_audit_needs_a_token,
    s46_no_or_a_bad_token_is_unauthorized_and_an_unprivileged_account_forbidden,
);

async fn s46_no_or_a_bad_token_is_unauthorized_and_an_unprivileged_account_forbidden(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let good = cx.surroundings().sender_token();
    let unprivileged = cx.token_of_new_account(&namespace, "nobody").await?;
    let alert = webhook(&[Alert::about_pod(&namespace, "checkout-1")]);
    let warning = event(&namespace, "Pod", "checkout-2", "BackOff");
    for (path, body) in [(PROMETHEUS, &alert), (KUBERNETES_EVENT, &warning)] {
        let anonymous = cx.gateway().anonymous();
        anonymous.post(path).json(body).send().await?.expect_problem(401, "a signal without a token")?;
        for (what, authorization) in [
            ("a token that was tampered with", format!("Bearer {good}x")),
            ("a token that is none", "Bearer secret".to_owned()),
            ("an empty token", "Bearer ".to_owned()),
            ("a good token under another scheme", format!("Basic {good}")),
        ] {
            let request = anonymous.post(path).header(AUTHORIZATION, &authorization).json(body);
            request.send().await?.expect_problem(401, what)?;
        }
        let request = cx.gateway().with_token(&unprivileged).post(path).json(body);
        request.send().await?.expect_problem(403, "a signal of an account that may not send any")?;
    }
    cx.expect_requests(&namespace, 0).await?;
    // What was refused was refused for its sender alone.
    cx.gateway().webhook(&alert).await?.expect_created("the same alert of an account that may send")?;
    cx.gateway().event(&warning).await?.expect_created("the same event of an account that may send")?;
    Ok(())
}

async fn s54_a_deleted_accounts_token_is_refused(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let token = cx.token_of_new_account(&namespace, "leaver").await?;
    cx.allow_to_send(&namespace, "leaver").await?;
    let gateway = cx.gateway().with_token(&token);
    let alert = webhook(&[Alert::about_pod(&namespace, "checkout-1")]);
    // A new binding is known to the authorizer in a moment.
    eventually(SOON, "the account to be let in", async || {
        let answer = gateway.webhook(&alert).await?;
        ensure!(answer.status == 201 || answer.status == 202, "{answer}");
        Ok(())
    })
    .await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(cx.kubernetes(), &namespace);
    accounts.delete("leaver", &DeleteParams::default()).await.context("deleting the account")?;
    // The API server itself believes for ten seconds what it has found out of a token. Others need not wait for that.
    let known = eventually(TOKEN_GOOD_FOR, "the API server to refuse the token of the deleted account", async || {
        let reviews: Api<TokenReview> = Api::all(cx.kubernetes());
        let asked = TokenReview {
            spec: TokenReviewSpec { token: Some(token.clone()), ..Default::default() },
            ..Default::default()
        };
        let answer =
            reviews.create(&PostParams::default(), &asked).await.context("asking the API server for a review")?;
        ensure!(!answer.status.and_then(|status| status.authenticated).unwrap_or(false), "it is good");
        Ok(())
    });
    cx.aside(known, Alone { with: Part::Gateway, uses: &[] }).await?;
    eventually(TOKEN_GOOD_FOR, "the token of the deleted account to be refused", async || {
        let answer = gateway.webhook(&alert).await?;
        answer.expect_problem(401, "a signal with the token of a deleted account").map(drop)
    })
    .await
}

async fn s57_audit_needs_a_token(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    let correlation = cx.unique_name();
    let event = audit_event(&correlation);
    let of_another_audience = cx.surroundings().sender_token();
    let stranger = cx.audit_token_of_new_account(&namespace, "nobody").await?;
    for (what, token, status) in [
        ("without a token", None, 401),
        ("with a token that is none", Some("secret"), 401),
        ("with a token for the API server", Some(of_another_audience), 401),
        ("of an account that may not", Some(stranger.as_str()), 403),
    ] {
        let datastorage = cx.datastorage().with_token(token);
        datastorage.write(&event).await?.expect_problem(status, &format!("an event {what}"))?;
        datastorage.write_batch(&json!([event])).await?.expect_problem(status, &format!("a batch {what}"))?;
        datastorage.query("limit=1").await?.expect_problem(status, &format!("a query {what}"))?;
    }
    let stored = cx.datastorage().correlated(&correlation).await?;
    ensure!(stored.is_empty(), "expected what was refused to leave nothing, found {stored:?}");
    cx.datastorage().store(&event, "the same event of an account that may").await.map(drop)
}
