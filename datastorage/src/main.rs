//! Reads the configuration, starts the service, and stops it on SIGTERM.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use datastorage::Service;
use datastorage::config::Config;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

const HELP: &str = "\
Keeps audit events in PostgreSQL, and in a queue in Redis while PostgreSQL is away.

Usage: datastorage [--config PATH]

Environment variables DATASTORAGE_<SECTION>_<KEY> take precedence over the file.";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There may be no log yet; a line of JSON is what reads it either way.
            eprintln!("{}", serde_json::json!({ "level": "ERROR", "message": format!("{error:#}") }));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut file = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--config" => file = Some(PathBuf::from(arguments.next().context("--config needs a PATH")?)),
            "--help" | "-h" => {
                println!("{HELP}");
                return Ok(());
            }
            "--version" | "-V" => {
                println!("datastorage {}", env!("CARGO_PKG_VERSION"));
                return Ok(());
            }
            _ => bail!("`{argument}` is not an argument; see --help"),
        }
    }
    let config = Config::load(
        file.as_deref(),
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
    )?;
    let filter = EnvFilter::try_new(&config.log.filter)
        .with_context(|| format!("the configuration's log.filter, `{}`", config.log.filter))?;
    tracing_subscriber::fmt().json().flatten_event(true).with_span_list(false).with_env_filter(filter).init();
    tokio::runtime::Runtime::new().context("starting the runtime")?.block_on(serve(config))
}

async fn serve(config: Config) -> Result<()> {
    // Before the service starts, so that a signal that comes early is not lost.
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let service = Service::start(config).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    service.stop().await;
    Ok(())
}
