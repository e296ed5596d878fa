//! Severity, environment, priority and the path that the policy chooses.

use anyhow::{Result, ensure};
use api::{Severity, labels};
use futures::future::try_join_all;

use crate::harness::context::Context;
use crate::harness::signals::Alert;
use crate::harness::spec::specs;

specs!("classification":
    s13_an_alert_of_unknown_severity_is_a_warning,
    s45_environment_and_severity_decide_priority_and_path,
);

async fn s13_an_alert_of_unknown_severity_is_a_warning(cx: Context) -> Result<()> {
    let namespace = cx.namespace().await?;
    for (label, severity) in [
        ("page", Severity::Warning),
        ("critical", Severity::Critical),
        ("warning", Severity::Warning),
        ("info", Severity::Info),
    ] {
        let alert = Alert::about_pod(&namespace, label).severity(label);
        let created = cx.gateway().alert(alert).await?.expect_created(&format!("an alert labelled {label}"))?;
        let found = cx.request(&namespace, &created.name).await?;
        ensure!(
            found.spec.severity == severity,
            "an alert labelled severity={label}: expected {severity:?}, found {:?}",
            found.spec.severity
        );
        let found = found.metadata.labels.unwrap_or_default().get(labels::SEVERITY).cloned();
        ensure!(
            found.as_deref() == Some(severity.as_str()),
            "an alert labelled severity={label}: expected {}={}, found {found:?}",
            labels::SEVERITY,
            severity.as_str()
        );
    }
    Ok(())
}

/// Environment, severity, priority, path. Of the policy's 16 cells these are the ones that a signal can reach; every
/// severity of an unknown environment leads to the same.
const TABLE: [(&str, &str, &str, &str); 12] = [
    ("production", "critical", "P0", "aggressive"),
    ("production", "warning", "P1", "conservative"),
    ("production", "info", "P2", "conservative"),
    ("staging", "critical", "P1", "moderate"),
    ("staging", "warning", "P2", "manual"),
    ("staging", "info", "P3", "manual"),
    ("development", "critical", "P1", "aggressive"),
    ("development", "warning", "P2", "manual"),
    ("development", "info", "P3", "manual"),
    ("unknown", "critical", "P3", "manual"),
    ("unknown", "warning", "P3", "manual"),
    ("unknown", "info", "P3", "manual"),
];

async fn s45_environment_and_severity_decide_priority_and_path(cx: Context) -> Result<()> {
    let cx = &cx;
    let environments = ["production", "staging", "development", "unknown"].map(|environment| async move {
        let namespace = match environment {
            "unknown" => cx.namespace().await?,
            labelled => cx.namespace_in(labelled).await?,
        };
        let rows = TABLE.iter().filter(|row| row.0 == environment);
        let sent = rows.map(|row| expect_row(cx, &namespace, row));
        try_join_all(sent).await
    });
    try_join_all(environments).await?;
    Ok(())
}

async fn expect_row(cx: &Context, namespace: &str, row: &(&str, &str, &str, &str)) -> Result<()> {
    let (environment, severity, priority, path) = row;
    let what = format!("a {severity} alert from {environment}");
    let alert = Alert::about_pod(namespace, severity).severity(severity);
    let created = cx.gateway().alert(alert).await?.expect_created(&what)?;
    let found = cx.request(namespace, &created.name).await?.metadata.labels.unwrap_or_default();
    for (key, value) in
        [(labels::ENVIRONMENT, environment), (labels::PRIORITY, priority), (labels::REMEDIATION_PATH, path)]
    {
        ensure!(
            found.get(key).is_some_and(|found| found == value),
            "{what}: expected the label {key}={value} among {found:?}"
        );
    }
    Ok(())
}
