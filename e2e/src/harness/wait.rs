//! The one way in which a spec waits.

use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, sleep, timeout_at};

use super::trace;

/// Between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Looks until `check` succeeds, and returns what it found. `what` completes the sentence "waited for …".
///
/// # Errors
/// After `deadline`: what was waited for, and why the last look that ended did not succeed.
pub(crate) async fn eventually<T>(
    deadline: Duration,
    what: &str,
    mut check: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    let mut last_seen = String::from("no look came to an end");
    loop {
        trace::waiting_for(format!("{what} (last seen: {last_seen})"));
        match timeout_at(end, check()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(not_yet)) => last_seen = format!("{not_yet:#}"),
            Err(_) => return Err(anyhow!("waited {deadline:?} for {what}; last seen: {last_seen}")),
        }
        if Instant::now() + POLL_INTERVAL >= end {
            return Err(anyhow!("waited {deadline:?} for {what}; last seen: {last_seen}"));
        }
        sleep(POLL_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use anyhow::ensure;

    use super::*;

    #[tokio::test]
    async fn returns_what_was_found_as_soon_as_it_is_there() {
        let mut looks = 0;
        let found = eventually(Duration::from_secs(5), "the third look", async || {
            looks += 1;
            ensure!(looks == 3, "this is look {looks}");
            Ok("it")
        });
        assert_eq!(found.await.unwrap(), "it");
        assert_eq!(looks, 3);
    }

    #[tokio::test]
    async fn says_what_it_waited_for_and_what_it_saw_last() {
        let never: Result<()> = eventually(Duration::from_millis(120), "a blue moon", async || {
            ensure!(false, "the moon is white");
            Ok(())
        })
        .await;
        let message = never.unwrap_err().to_string();
        assert_eq!(message, "waited 120ms for a blue moon; last seen: the moon is white");
    }

    #[tokio::test]
    async fn a_look_that_hangs_ends_with_the_deadline() {
        let never: Result<()> =
            eventually(Duration::from_millis(60), "an answer", async || std::future::pending().await).await;
        assert!(never.unwrap_err().to_string().contains("no look came to an end"));
    }
}
