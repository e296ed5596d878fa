//! `lab`: the commands on machines of other systems, each in a container, and the table of what came of it.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, Result};
use camino::Utf8Path;
use e2e_support::Cancel;

use crate::error::WrongUsage;
use crate::exit;
use crate::lab::{self, FILE, NAME, Row, SCRIPT};
use crate::paths::Paths;
use crate::suite::yaml::did_you_mean;
use crate::trials::{self, Cases};

/// Try the commands on machines of other systems, each in a container, and write the table in docs/lab.md
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rows, or their beginnings, such as `docker` or `podman-fault`; all where none is named
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Try another revision than HEAD
    #[arg(long, env = "E2E_LAB_REVISION", default_value = "HEAD", value_name = "REVISION")]
    pub revision: String,
    /// Only say which rows there are
    #[arg(long)]
    pub list: bool,
    /// Only write the table, from what rows have found already
    #[arg(long, conflicts_with_all = ["names", "list"])]
    pub table: bool,
    /// Remove the machines, their images and all else that the lab left on this one
    #[arg(long, conflicts_with_all = ["names", "list", "table"])]
    pub remove: bool,
}

/// Runs it.
///
/// # Errors
/// When a name is no row's, the script cannot be asked, or the table cannot be written. What rows find is the exit code.
pub fn run(paths: &Paths, args: &Args, cancel: &Cancel) -> Result<ExitCode> {
    let script = Utf8Path::new(SCRIPT);
    if args.remove {
        trials::carry_out(&paths.root, script, NAME, &["--remove".to_owned()], &[], cancel)
            .context("removing the lab")?;
        println!("the lab's machines, their images and their folders are gone; the table stays");
        return Ok(ExitCode::SUCCESS);
    }
    let cases = Cases::ask(&paths.root, script, cancel)?;
    if args.list {
        for (name, seconds) in &cases.cases {
            println!("{name:<24} about {seconds:.0} s");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let order: Vec<String> = cases.cases.into_iter().map(|(name, _)| name).collect();
    let chosen = chosen(&order, &args.names)?;
    let revision = trials::revision(&paths.root, &args.revision)?;
    // What rows have found is in the results, so that an error here is that of the script itself.
    let carried_out = match args.table {
        true => Ok(()),
        false => trials::carry_out(&paths.root, script, NAME, &chosen, &[("E2E_LAB_REVISION", &args.revision)], cancel),
    };
    let rows = lab::recorded(&paths.root.join(trials::RESULTS))?;
    let changed = lab::write(&paths.root, &rows, &order)?;
    println!("{FILE} {}", if changed { "is written anew" } else { "has all of it already" });
    let open: Vec<&str> =
        chosen.iter().map(String::as_str).filter(|&name| !args.table && !passed(&rows, name, &revision)).collect();
    if open.is_empty() {
        return carried_out.map(|()| ExitCode::SUCCESS);
    }
    println!("not passed: {}; their logs are in {}/lab/logs", open.join(", "), trials::RESULTS);
    Ok(ExitCode::from(if cancel.is_cancelled() { exit::INTERRUPTED } else { 1 }))
}

fn passed(rows: &BTreeMap<String, Row>, name: &str, revision: &str) -> bool {
    rows.get(name).is_some_and(|row| row.passed && row.commit == revision)
}

/// The rows that `names` name or begin, in the script's order.
fn chosen(all: &[String], names: &[String]) -> Result<Vec<String>> {
    let begins =
        |row: &str, name: &str| row == name || row.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
    for name in names {
        if !all.iter().any(|row| begins(row, name)) {
            let hint = did_you_mean(name, all.iter().map(String::as_str)).unwrap_or_else(|| all.join(", "));
            return Err(WrongUsage(format!("the lab has no row {name} ({hint})")).into());
        }
    }
    let wanted = |row: &&String| names.is_empty() || names.iter().any(|name| begins(row, name));
    Ok(all.iter().filter(wanted).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_the_rows_that_begin_with_it() {
        let all = ["docker-setup", "docker-mirror-setup", "podman-setup"].map(str::to_owned);
        let some = |names: &[&str]| chosen(&all, &names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        assert_eq!(some(&[]).unwrap(), all);
        assert_eq!(some(&["docker"]).unwrap(), all[..2]);
        assert_eq!(some(&["podman-setup", "docker-setup"]).unwrap(), ["docker-setup", "podman-setup"]);
        assert!(some(&["dock"]).unwrap_err().to_string().contains("the lab has no row dock"));
        assert!(some(&["podman-setpu"]).unwrap_err().to_string().contains("did you mean `podman-setup`"));
    }
}
