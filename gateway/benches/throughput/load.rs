//! So many calls, so many at once, and how long they took.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _};

/// How long calls took.
pub(crate) struct Measured {
    elapsed: Duration,
    /// Shortest first.
    latencies: Vec<Duration>,
}

/// Makes calls 0 to `calls`, `at_once` at any time, and fails with the first that fails.
pub(crate) async fn run(calls: usize, at_once: usize, call: impl AsyncFn(usize) -> Result<()>) -> Result<Measured> {
    let started = Instant::now();
    let timed = futures::stream::iter(0..calls).map(async |number| {
        let begun = Instant::now();
        call(number).await?;
        Ok::<_, anyhow::Error>(begun.elapsed())
    });
    let mut latencies: Vec<Duration> = timed.buffer_unordered(at_once).try_collect().await?;
    latencies.sort_unstable();
    Ok(Measured { elapsed: started.elapsed(), latencies })
}

impl Measured {
    /// Several runs as one.
    pub(crate) fn together(runs: Vec<Self>) -> Self {
        let elapsed = runs.iter().map(|run| run.elapsed).sum();
        let mut latencies: Vec<Duration> = runs.into_iter().flat_map(|run| run.latencies).collect();
        latencies.sort_unstable();
        Self { elapsed, latencies }
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    pub(crate) fn p99_ms(&self) -> f64 {
        self.quantile_ms(0.99)
    }

    /// Rate, p50 and p99 as cells of a table.
    pub(crate) fn cells(&self) -> String {
        format!("{:.0} | {:.0} | {:.0}", self.per_second(), self.quantile_ms(0.5), self.p99_ms())
    }

    fn quantile_ms(&self, quantile: f64) -> f64 {
        let at = (quantile * (self.latencies.len() - 1) as f64).round() as usize;
        self.latencies[at].as_secs_f64() * 1000.0
    }
}
