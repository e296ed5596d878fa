//! How fast the gateway is beside a bare client that makes the same API calls, in the same run, against the same API
//! server; how fast it counts duplicates; and whether its memory stays flat.
//!
//! `cargo bench -p gateway -- --rounds 4 --signals 300 --at-once 16 --minutes 10` (these are the defaults but for
//! `--minutes 1`). E2E_ETCD and E2E_KUBE_APISERVER name the programs, as for the tests.

mod bare;
mod load;
mod subject;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use testbed::kubernetes::ApiServer;

use self::bare::Bare;
use self::load::{Measured, run};
use self::subject::Subject;

/// How often memory is looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(5);
/// Problems that duplicates are about.
const KNOWN_PROBLEMS: usize = 50;

/// What is asked for on the command line.
struct Options {
    rounds: usize,
    signals: usize,
    at_once: usize,
    minutes: f64,
}

fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(bench(&options))
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self { rounds: 4, signals: 300, at_once: 16, minutes: 1.0 };
        while let Some(arg) = args.next() {
            // What cargo itself adds.
            if arg == "--bench" {
                continue;
            }
            let value = args.next().with_context(|| format!("{arg} needs a number"))?;
            let number = || value.parse().with_context(|| format!("{arg} is {value:?}: it must be a number"));
            match arg.as_str() {
                "--rounds" => options.rounds = number()?,
                "--signals" => options.signals = number()?,
                "--at-once" => options.at_once = number()?,
                "--minutes" => options.minutes = value.parse().with_context(|| format!("--minutes is {value:?}"))?,
                _ => bail!("unknown argument {arg}: there are --rounds, --signals, --at-once, --minutes"),
            }
        }
        if options.rounds == 0 || options.signals == 0 || options.at_once == 0 {
            bail!("--rounds, --signals and --at-once must be at least 1");
        }
        Ok(options)
    }
}

async fn bench(options: &Options) -> Result<()> {
    let server = ApiServer::start().await?;
    server.create_namespace("bench", &[("kubernaut.ai/environment", "production")]).await?;
    server.create_namespace("gateway-home", &[]).await?;
    let subject = Subject::start(&server).await?;
    let bare = Bare::new(&server)?;
    let Options { rounds, signals, at_once, .. } = *options;
    println!("{rounds} rounds of {signals} distinct signals, {at_once} at once; the two take turns\n");

    // Connections, caches and the API server's first looks at the type are nobody's to pay.
    run(at_once, at_once, async |n| bare.distinct(&format!("warm-bare-{n}")).await).await?;
    run(at_once, at_once, async |n| subject.distinct(&format!("warm-{n}")).await).await?;
    let (mut of_bare, mut of_subject) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        of_bare.push(run(signals, at_once, async |n| bare.distinct(&format!("bare-{round}-{n}")).await).await?);
        of_subject
            .push(run(signals, at_once, async |n| subject.distinct(&format!("gateway-{round}-{n}")).await).await?);
    }
    let (bare_all, subject_all) = (Measured::together(of_bare), Measured::together(of_subject));
    println!("| distinct signals | per second | p50 ms | p99 ms |\n|---|---|---|---|");
    println!("| bare client, same API calls | {} |", bare_all.cells());
    println!("| gateway | {} |", subject_all.cells());
    println!("\ngateway / bare client: {:.0} %\n", 100.0 * subject_all.per_second() / bare_all.per_second());

    for problems in [1, KNOWN_PROBLEMS] {
        run(problems, at_once, async |n| subject.any(&format!("known-{n}")).await).await?;
        let measured = run(signals, at_once, async |n| subject.any(&format!("known-{}", n % problems)).await).await?;
        println!(
            "duplicates of {problems} problem(s): {:.0} per second, p99 {:.0} ms",
            measured.per_second(),
            measured.p99_ms()
        );
    }
    memory(options, &subject).await
}

/// Keeps the gateway at work, nine duplicates to one new problem, and looks at its memory.
async fn memory(options: &Options, subject: &Subject) -> Result<()> {
    println!("\n| minute | signals | resident MiB |\n|---|---|---|");
    let started = Instant::now();
    let mut sent = 0;
    let mut next_sample = Instant::now();
    while started.elapsed().as_secs_f64() < options.minutes * 60.0 {
        let first = sent;
        sent += options.at_once * 10;
        run(options.at_once * 10, options.at_once, async |n| match n % 10 {
            0 => subject.any(&format!("steady-{}", first + n)).await,
            _ => subject.any(&format!("known-{}", n % KNOWN_PROBLEMS)).await,
        })
        .await?;
        if Instant::now() >= next_sample {
            next_sample = Instant::now() + SAMPLE_INTERVAL;
            let mebibytes = subject.resident_bytes().await? / 1024.0 / 1024.0;
            println!("| {:.1} | {sent} | {mebibytes:.1} |", started.elapsed().as_secs_f64() / 60.0);
        }
    }
    Ok(())
}
