//! The gateway's process: arguments, log, signals.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use gateway::{Config, Gateway, build_info, logging};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "usage: gateway [--config PATH]
  --config PATH  YAML file with settings (default: none); GATEWAY_<SECTION>_<KEY> overrides a key of it
  --version      print version and revision
  --help         print this";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut path = None;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--config" => {
                path = Some(args.next().map(PathBuf::from).with_context(|| format!("--config needs a path\n{USAGE}"))?)
            }
            "--version" => {
                println!("gateway {} ({})", build_info::VERSION, build_info::revision());
                return Ok(());
            }
            "--help" | "-h" => {
                println!("{USAGE}");
                return Ok(());
            }
            other => bail!("unknown argument {other:?}\n{USAGE}"),
        }
    }
    // Variables that are not Unicode cannot be ours.
    let variables =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let config = Config::load(path.as_deref(), variables)?;
    logging::start(config.log.level);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    runtime
        .block_on(serve(&config))
        .inspect_err(|error| tracing::error!(error = format!("{error:#}"), "could not start"))
}

async fn serve(config: &Config) -> Result<()> {
    // Before anything else: a SIGTERM that comes during the start is not lost.
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let gateway = Gateway::start(config, gateway::connect().await?).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    gateway.shutdown().await;
    Ok(())
}
