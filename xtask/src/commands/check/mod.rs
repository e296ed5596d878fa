//! `check`: what would go wrong, before it costs minutes.

mod sarif;
mod watch;

use std::collections::BTreeSet;
use std::io::ErrorKind;

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;

use crate::check::scan::{self, Scanned, Taken};
use crate::check::{
    Finding, NOT_RENDERED, SUITE, Severity, allow, classes, explain, files, findings, first_sentence, fix, ids,
};
use crate::error::WrongUsage;
use crate::paths::Paths;
use crate::suite::yaml::{Problem, Problems, did_you_mean, read_file};
use crate::suite::{SUITES, Suite};

/// Find the mistakes that a run would only find after minutes: in the suite, its Dockerfiles, manifests and packages
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The suite; all of them where none is named
    pub suite: Option<String>,
    /// Look at the Dockerfiles and manifests that the project has, without a suite
    #[arg(long, conflicts_with_all = ["suite", "explain"])]
    pub scan: bool,
    /// human is a line each, json one object, sarif the same for code scanners, github annotations for GitHub Actions
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// Mend what has but one right answer, in place; what is left is told
    #[arg(long, conflicts_with = "watch")]
    pub fix: bool,
    /// Look again whenever a file changes, until Ctrl-C
    #[arg(long)]
    pub watch: bool,
    /// Tell about a class of mistakes, by the id in brackets, or list all of them, and look at nothing
    #[arg(long, value_name = "ID", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["suite", "format", "fix", "watch"])]
    pub explain: Option<String>,
}

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Human,
    Json,
    Sarif,
    Github,
}

/// Prints all that is found.
///
/// # Errors
/// When there are errors among it, or an id is unknown: wrong usage. When cargo cannot be asked.
pub fn run(paths: &Paths, args: &Args) -> Result<()> {
    if args.explain.as_deref() == Some("") {
        for class in classes() {
            println!("{:<15} {}", class.id, first_sentence(class.id));
        }
        return Ok(());
    }
    if let Some(id) = &args.explain {
        let Some(text) = explain(id) else {
            let parts: Vec<String> = ids().filter(|one| one.contains(id)).map(|one| format!("`{one}`")).collect();
            let of_parts = || (!parts.is_empty()).then(|| format!("did you mean {}?", parts.join(" or ")));
            let hint = of_parts().or_else(|| did_you_mean(id, ids()));
            let hint = hint.unwrap_or_else(|| "`check --explain` lists all".to_owned());
            return Err(WrongUsage(format!("no class of mistakes has the id `{id}` ({hint})")).into());
        };
        println!("{text}");
        return Ok(());
    }
    if args.fix {
        // One edit may show the next mistake.
        for _ in 0..FIXES {
            let changed = fix::fix(&paths.root, &look(paths, args)?.findings)?;
            for one in &changed {
                let right: Vec<&str> = one.right.lines().map(str::trim).collect();
                eprintln!("{}:{}: {} → {}", one.file, one.line, one.wrong, right.join(" / "));
            }
            if changed.is_empty() {
                break;
            }
        }
    }
    if !args.watch {
        return tell(&look(paths, args)?, args);
    }
    let mut state = watch::state(&paths.root);
    let mut told = None;
    loop {
        let looked = look(paths, args)?;
        if told.as_ref() != Some(&looked.findings) {
            if told.is_some() && args.format == Format::Human {
                println!();
            }
            // What is wrong is printed; the rest is for whoever reads the exit code.
            drop(tell(&looked, args));
            if told.is_none() && args.format == Format::Human {
                eprintln!("looking again whenever a file changes; Ctrl-C ends it");
            }
            told = Some(looked.findings);
        }
        state = watch::changed(&paths.root, state);
    }
}

/// So often at most files are mended, one edit after the other.
const FIXES: usize = 5;

/// What was looked at, and what was found.
struct Looked {
    findings: Vec<Finding>,
    /// Lines that people are told first.
    about: Vec<String>,
    /// What JSON has beside the findings.
    more: serde_json::Value,
}

/// Suites that nothing reads, because of how their files are called.
fn misnamed(root: &Utf8Path) -> Vec<Finding> {
    let entries = root.join(SUITES).read_dir_utf8().into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .map(|entry| Utf8Path::new(SUITES).join(entry.file_name()))
        .filter(|file| file.extension() == Some("yml"))
        // Other tools' files may lie beside them.
        .filter(|file| {
            let text = read_file(&root.join(file)).unwrap_or_default();
            String::from_utf8_lossy(&text).lines().any(|line| line.starts_with("cluster:"))
        })
        .collect();
    files.sort();
    let problem = |file: Utf8PathBuf| Problem {
        message: "this suite is not read: its file has to end in .yaml".to_owned(),
        hint: Some(format!("call it `{}`", file.with_extension("yaml"))),
        file,
        line: 0,
        column: 0,
        fix: None,
    };
    files.into_iter().map(|file| Finding { class: SUITE, problem: problem(file) }).collect()
}

/// Looks at the suites, or at all that the project has.
fn look(paths: &Paths, args: &Args) -> Result<Looked> {
    if args.scan {
        return Ok(scanned(&paths.root, scan::scan(&paths.root)?));
    }
    let names = match &args.suite {
        Some(name) => vec![name.clone()],
        None => Suite::names(&paths.root),
    };
    let mut all: Vec<Finding> = if args.suite.is_none() { misnamed(&paths.root) } else { Vec::new() };
    if names.is_empty() && all.is_empty() {
        let message = match paths.root.join(SUITES).read_dir() {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                format!("reading the suites in {}: {error}", paths.root.join(SUITES))
            }
            _ => format!(
                "{} has no suite in {SUITES}/: `check --scan` looks at the Dockerfiles and manifests that it finds",
                paths.root
            ),
        };
        return Err(WrongUsage(message).into());
    }
    let mut read = BTreeSet::new();
    for name in &names {
        let found = match Suite::load(&paths.root, name) {
            Ok(suite) => {
                read.extend(files(&paths.root, &suite));
                findings(&paths.root, &suite)?
            }
            Err(Problems(problems)) => problems.into_iter().map(|problem| Finding { class: SUITE, problem }).collect(),
        };
        // Suites may share a file.
        for finding in found {
            if !all.contains(&finding) {
                all.push(finding);
            }
        }
    }
    // What allows nothing of one suite may allow something of another.
    let findings = allow::apply(&paths.root, read, all, args.suite.is_none());
    let about = if findings.is_empty() {
        names.iter().map(|name| format!("{name}: nothing that would go wrong was found")).collect()
    } else {
        Vec::new()
    };
    Ok(Looked { findings, about, more: json!({}) })
}

/// A scan: with what was taken for what, and what is not known.
fn scanned(root: &Utf8Path, scanned: Scanned) -> Looked {
    let Scanned { findings, taken, notes } = scanned;
    let read = taken.iter().map(|one| one.path.clone()).filter(|path| root.join(path).is_file()).collect();
    let findings = allow::apply(root, read, findings, true);
    let mut about: Vec<String> = taken.iter().map(|Taken { path, as_what }| format!("{path}: {as_what}")).collect();
    about.extend(notes.iter().map(|note| format!("note: {note}")));
    if taken.is_empty() {
        about.push(format!("{root} has no Dockerfile, manifest, kustomization or chart"));
    } else if findings.is_empty() {
        about.push(format!("nothing that would go wrong was found in {}", count(taken.len(), "place")));
    }
    Looked { findings, about, more: json!({"taken": taken, "notes": notes}) }
}

/// Prints what was found.
///
/// # Errors
/// When there are errors among it.
fn tell(looked: &Looked, args: &Args) -> Result<()> {
    let all = &looked.findings;
    let text: String = match args.format {
        Format::Human => looked.about.iter().map(|line| format!("{line}\n")).chain(all.iter().map(human)).collect(),
        Format::Github => all.iter().map(github).collect(),
        Format::Sarif => format!("{:#}\n", sarif::sarif(all)),
        Format::Json => {
            let mut whole = looked.more.clone();
            whole["findings"] = all.iter().map(value).collect();
            format!("{whole:#}\n")
        }
    };
    print!("{text}");
    let errors = all.iter().filter(|finding| finding.class.severity == Severity::Error).count();
    let mut found = format!("check found {}, {}", count(errors, "error"), count(all.len() - errors, "warning"));
    let mended = all.iter().filter(|finding| finding.problem.fix.is_some()).count();
    if mended > 0 && !args.fix {
        found.push_str(&format!("; `--fix` mends {mended} of them"));
    }
    if errors > 0 {
        return Err(WrongUsage(found).into());
    }
    if !all.is_empty() && args.format == Format::Human {
        eprintln!("{found}");
    }
    Ok(())
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// `error[id]: file:line:column: what is wrong (what to do)`.
fn human(finding: &Finding) -> String {
    format!("{}[{}]: {}\n", finding.class.severity.name(), finding.class.id, finding.problem)
}

fn value(finding: &Finding) -> serde_json::Value {
    let problem = &finding.problem;
    json!({
        "id": finding.class.id,
        "severity": finding.class.severity,
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "message": problem.message,
        "hint": problem.hint,
    })
}

/// <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>
fn github(finding: &Finding) -> String {
    let problem = &finding.problem;
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let place = match problem.line {
        0 => String::new(),
        line => format!(",line={line},col={}", problem.column),
    };
    let hint = problem.hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
    format!(
        "::{} file={}{place},title={}::{}\n",
        finding.class.severity.name(),
        property(problem.file.as_str()),
        property(finding.class.id),
        data(&format!("{}{hint}", problem.message))
    )
}

/// Fails with all errors of `suite`; warnings go to stderr. Says whether all of it could be looked at: kustomizations
/// cannot before there is something that renders them.
///
/// # Errors
/// The problems, or that something could not be read.
pub fn must_pass(paths: &Paths, suite: &Suite) -> Result<bool> {
    let found = allow::apply(&paths.root, files(&paths.root, suite), findings(&paths.root, suite)?, false);
    let (errors, warnings): (Vec<Finding>, Vec<Finding>) =
        found.into_iter().partition(|finding| finding.class.severity == Severity::Error);
    warnings.iter().for_each(|finding| eprint!("{}", human(finding)));
    Problems(errors.into_iter().map(|finding| finding.problem).collect()).into_result()?;
    Ok(warnings.iter().all(|finding| finding.class != NOT_RENDERED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_in_each_format() {
        let problem = Problem {
            file: "a,b.yaml".into(),
            line: 3,
            column: 5,
            message: "no 100 %\nof it".into(),
            hint: Some("try".into()),
            fix: None,
        };
        let finding = Finding { class: SUITE, problem };
        assert_eq!(human(&finding), "error[suite]: a,b.yaml:3:5: no 100 %\nof it (try)\n");
        assert_eq!(github(&finding), "::error file=a%2Cb.yaml,line=3,col=5,title=suite::no 100 %25%0Aof it (try)\n");
        assert_eq!(value(&finding)["severity"], "error");
        let mut whole = finding;
        whole.problem.line = 0;
        assert!(github(&whole).starts_with("::error file=a%2Cb.yaml,title=suite::"));
    }
}
