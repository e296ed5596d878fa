//! Who may send signals.

use anyhow::Result;
use reqwest::header::AUTHORIZATION;

use crate::harness::context::Context;
use crate::harness::gateway::{KUBERNETES_EVENT, PROMETHEUS};
use crate::harness::signals::{Alert, event, webhook};
use crate::harness::spec::specs;

specs!("auth":
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
