//! The runs of a bench, kept as they come, so that one that was stopped goes on where it was.

use std::fs::{File, OpenOptions};
use std::io::Write as _;

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::contender::Contender;
use super::measure::Run;
use super::scenario::Scenario;

/// The version of these files; a reader refuses others.
pub const SCHEMA: u32 = 1;
const NAME: &str = "runs.jsonl";

/// What all runs of a bench have in common.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// [`SCHEMA`] of the writer.
    pub schema: u32,
    pub suite: String,
    pub scenario: Scenario,
    pub contenders: Vec<Contender>,
    /// What the order within each round follows from.
    pub seed: u64,
    /// `--build`, as on the command line.
    pub build: String,
    /// The container engine.
    pub engine: String,
    /// What git calls the sources.
    pub git_revision: String,
    /// The hash of all sources.
    pub inputs: String,
}

impl Settings {
    /// What differs, in words; empty where nothing does.
    fn differences(&self, other: &Self) -> Vec<String> {
        let names = |settings: &Self| {
            settings.contenders.iter().map(|contender| contender.name.clone()).collect::<Vec<_>>().join(",")
        };
        let short = |hash: &str| hash.chars().take(12).collect::<String>();
        let rows = [
            ("schema", self.schema.to_string(), other.schema.to_string()),
            ("suite", self.suite.clone(), other.suite.clone()),
            ("scenario", self.scenario.name().to_owned(), other.scenario.name().to_owned()),
            ("contenders", names(self), names(other)),
            ("seed", self.seed.to_string(), other.seed.to_string()),
            ("build", self.build.clone(), other.build.clone()),
            ("container engine", self.engine.clone(), other.engine.clone()),
            ("git revision", self.git_revision.clone(), other.git_revision.clone()),
            ("sources", short(&self.inputs), short(&other.inputs)),
        ];
        let rows = rows.into_iter().filter(|(_, one, other)| one != other);
        rows.map(|(what, one, other)| format!("{what}: {one} there, {other} now")).collect()
    }
}

/// The file with the settings in its first line and a run in each other one.
#[derive(Debug)]
pub struct State {
    path: Utf8PathBuf,
    file: File,
    /// The runs so far, in the order in which they ran.
    pub runs: Vec<Run>,
}

/// What an earlier call has left in `out`; none where there is nothing. A torn last line, the mark of a call that was
/// killed, is left out.
///
/// # Errors
/// The file cannot be read, or is of another version.
pub fn look(out: &Utf8Path) -> Result<Option<(Settings, Vec<Run>)>> {
    let path = out.join(NAME);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {path}")),
    };
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut lines = whole.lines().enumerate();
    let Some((_, first)) = lines.next() else { return Ok(None) };
    let doing = |line: usize| format!("line {} of {path} is not what this version writes; remove {out}", line + 1);
    let settings = serde_json::from_str(first).with_context(|| doing(0))?;
    let runs = lines.map(|(at, line)| serde_json::from_str(line).with_context(|| doing(at)));
    Ok(Some((settings, runs.collect::<Result<_>>()?)))
}

impl State {
    /// Goes on with what is in `out`, or begins anew where nothing is.
    ///
    /// # Errors
    /// What is there was made with other settings: with what differs, and what to do.
    pub fn open(out: &Utf8Path, settings: &Settings) -> Result<Self> {
        let path = out.join(NAME);
        let mut runs = Vec::new();
        if let Some((before, kept)) = look(out)? {
            let differences = before.differences(settings);
            if !differences.is_empty() && !kept.is_empty() {
                bail!(
                    "{out} has runs that cannot be set beside new ones:\n  {}\nto begin anew, name another folder with --out, or remove {out}",
                    differences.join("\n  ")
                );
            }
            runs = kept;
        }
        std::fs::create_dir_all(out).with_context(|| format!("making the folder {out}"))?;
        // Written anew, without what was torn.
        let fresh = path.with_extension("new");
        let mut text = line(settings)?;
        for run in &runs {
            text.push_str(&line(run)?);
        }
        std::fs::write(&fresh, text).with_context(|| format!("writing {fresh}"))?;
        std::fs::rename(&fresh, &path).with_context(|| format!("writing {path}"))?;
        let file = OpenOptions::new().append(true).open(&path).with_context(|| format!("opening {path}"))?;
        Ok(Self { path, file, runs })
    }

    /// Keeps a run.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add(&mut self, run: Run) -> Result<()> {
        let doing = || format!("writing {}", self.path);
        self.file.write_all(line(&run)?.as_bytes()).and_then(|()| self.file.sync_data()).with_context(doing)?;
        self.runs.push(run);
        Ok(())
    }

    /// Whether this contender has run in this round, well or not.
    pub fn has(&self, round: u32, contender: &str) -> bool {
        self.runs.iter().any(|run| run.round == round && run.contender == contender)
    }
}

fn line(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string(value).context("writing a run as JSON")? + "\n")
}
