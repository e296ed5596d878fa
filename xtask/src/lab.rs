//! What the lab has found: its rows, and the table of them in docs/lab.md.
//!
//! The lab's script (images/lab) records a line for each row in the results file of its revision, with tabs between: the
//! row's name, `passed` or `failed`, seconds, system, engine, cgroup version, route to images, time of its end, what was found. The
//! table keeps the last of each row, whichever revision it is of; so the document itself is where older ones are read.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result, bail, ensure};
use camino::Utf8Path;

use crate::trials::{Outcome, outcomes};

/// The document, relative to the workspace.
pub const FILE: &str = "docs/lab.md";
/// The script, relative to the workspace.
pub const SCRIPT: &str = "images/lab/lab.sh";
/// The name that results files have for it.
pub const NAME: &str = "lab";

const HEADER: &str = "| row | system | engine | cgroup | route | commit | date | result | seconds | found |";
const RULE: &str = "|---|---|---|---|---|---|---|---|---|---|";

/// The place, among what the script records of a row, of the time when it ended.
const DATE: usize = 5;

/// What came of one row of the lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub system: String,
    /// The engine and its version.
    pub engine: String,
    /// `v1` or `v2`.
    pub cgroup: String,
    /// Where images come from.
    pub route: String,
    /// The revision that was tried.
    pub commit: String,
    /// The day, in UTC.
    pub date: String,
    pub passed: bool,
    /// Empty where they mean nothing.
    pub seconds: String,
    pub found: String,
}

impl Row {
    /// The row that the lab's script recorded at this revision.
    ///
    /// # Errors
    /// When the outcome has another number of columns.
    pub fn of(outcome: &Outcome, revision: &str) -> Result<Row> {
        let columns: Vec<&str> = outcome.found.splitn(7, '\t').collect();
        let [seconds, system, engine, cgroup, route, date, found] = columns[..] else {
            bail!("{:?} has {} columns, and a row of the lab has 7", outcome.found, columns.len());
        };
        Ok(Row {
            system: system.into(),
            engine: engine.into(),
            cgroup: cgroup.into(),
            route: route.into(),
            commit: revision.into(),
            date: date.split('T').next().unwrap_or_default().into(),
            passed: outcome.passed,
            seconds: seconds.into(),
            found: found.into(),
        })
    }
}

/// The last that the results files in `folder` have of each row, whichever revision they are of.
///
/// # Errors
/// When one cannot be read, or a line of it is no row.
pub fn recorded(folder: &Utf8Path) -> Result<BTreeMap<String, Row>> {
    let mut files = Vec::new();
    for entry in folder.read_dir_utf8().with_context(|| format!("listing {folder}"))? {
        let path = entry.with_context(|| format!("listing {folder}"))?.into_path();
        let revision =
            path.file_name().and_then(|name| name.strip_prefix(NAME)?.strip_prefix('-')?.strip_suffix(".tsv"));
        if let Some(revision) = revision.map(str::to_owned) {
            let changed = path.metadata().and_then(|meta| meta.modified());
            files.push((changed.with_context(|| format!("looking at {path}"))?, revision, path));
        }
    }
    files.sort();
    let mut rows = Vec::new();
    for (_, revision, path) in files {
        for (name, outcome) in outcomes(&path)? {
            let row = Row::of(&outcome, &revision).with_context(|| format!("reading {path}"))?;
            let when = outcome.found.split('\t').nth(DATE).unwrap_or_default().to_owned();
            rows.push((when, name, row));
        }
    }
    // A file is written to as long as any of its rows runs. Those of one time stay in the order of the files.
    rows.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(rows.into_iter().map(|(_, name, row)| (name, row)).collect())
}

/// The document with `new` in its table, in the order of `order`; rows that are not named there are the script's no
/// longer, and go. What stands before and behind the table stays.
///
/// # Errors
/// When `text` has no such table, or a line of it is no row.
pub fn merge(text: &str, new: &BTreeMap<String, Row>, order: &[String]) -> Result<String> {
    let begin = text.find(HEADER).with_context(|| format!("{FILE} has no table that begins with {HEADER}"))?;
    let (before, table) = text.split_at(begin);
    let length = table.split_inclusive('\n').take_while(|line| line.starts_with('|')).map(str::len).sum();
    let (table, behind) = table.split_at(length);
    let mut rows = BTreeMap::new();
    for line in table.lines().skip(2) {
        let (name, row) = parse(line).with_context(|| format!("reading the table of {FILE}"))?;
        rows.insert(name, row);
    }
    rows.extend(new.clone());
    let mut out = format!("{before}{HEADER}\n{RULE}\n");
    for (name, row) in order.iter().filter_map(|name| rows.get_key_value(name)) {
        let Row { system, engine, cgroup, route, commit, date, passed, seconds, found } = row;
        let result = if *passed { "passed" } else { "**failed**" };
        // In a table a bar would be the next column.
        let found = found.replace('|', "/");
        let _ = writeln!(
            out,
            "| {name} | {system} | {engine} | {cgroup} | {route} | {commit} | {date} | {result} | {seconds} | {found} |"
        );
    }
    Ok(out + behind)
}

fn parse(line: &str) -> Result<(String, Row)> {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [name, system, engine, cgroup, route, commit, date, result, seconds, found] = cells[..] else {
        bail!("{line:?} has {} columns in place of 10", cells.len());
    };
    ensure!(matches!(result, "passed" | "**failed**"), "{line:?} says {result:?}, which is no result");
    let row = Row {
        system: system.into(),
        engine: engine.into(),
        cgroup: cgroup.into(),
        route: route.into(),
        commit: commit.into(),
        date: date.into(),
        passed: result == "passed",
        seconds: seconds.into(),
        found: found.into(),
    };
    Ok((name.into(), row))
}

/// Puts the rows into the document of the workspace `root`, and says whether that changed it.
///
/// # Errors
/// When it cannot be read or written, or as [`merge`].
pub fn write(root: &Utf8Path, new: &BTreeMap<String, Row>, order: &[String]) -> Result<bool> {
    let path = root.join(FILE);
    let old = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let text = merge(&old, new, order)?;
    if text != old {
        std::fs::write(&path, &text).with_context(|| format!("writing {path}"))?;
    }
    Ok(text != old)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(result: &str, found: &str) -> (Row, String) {
        let found = format!("83.1\tDebian 13\tdocker 26.1.5\tv1\tnone\t2026-01-02\t{found}");
        (Row::of(&Outcome { passed: result == "passed", found: found.clone() }, "abc").unwrap(), found)
    }

    #[test]
    fn the_last_of_each_row_stands_in_the_table_in_the_scripts_order() {
        let order = ["b", "a", "never"].map(str::to_owned);
        let empty = format!("# Lab\n\nbefore\n\n{HEADER}\n{RULE}\n\nbehind\n");
        let first = BTreeMap::from([
            ("a".to_owned(), row("passed", "48 passed").0),
            ("b".to_owned(), row("failed", "curl | sh").0),
            ("gone".to_owned(), row("passed", "").0),
        ]);
        let text = merge(&empty, &first, &order).unwrap();
        let expected = "before\n\n".to_owned()
            + HEADER
            + "\n"
            + RULE
            + "\n| b | Debian 13 | docker 26.1.5 | v1 | none | abc | 2026-01-02 | **failed** | 83.1 | curl / sh |\n\
               | a | Debian 13 | docker 26.1.5 | v1 | none | abc | 2026-01-02 | passed | 83.1 | 48 passed |\n\nbehind\n";
        assert!(text.ends_with(&expected), "{text}");
        assert_eq!(merge(&text, &BTreeMap::new(), &order).unwrap(), text, "what it wrote it reads");
        let again = merge(&text, &BTreeMap::from([("b".to_owned(), row("passed", "").0)]), &order).unwrap();
        assert!(again.contains("| passed | 83.1 |  |\n") && again.contains("48 passed") && !again.contains("failed"));
    }

    #[test]
    fn rows_of_all_revisions_are_read_and_the_newest_counts() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(dir.path()).unwrap();
        let (_, columns) = row("passed", "48 passed");
        let at = |time: &str| columns.replace("2026-01-02", &format!("2026-01-02{time}"));
        let new = std::time::SystemTime::now();
        let old = new - std::time::Duration::from_secs(60);
        for (file, text, changed) in [
            ("lab-new.tsv", format!("a\tpassed\t{columns}\n"), new),
            ("lab-old.tsv", format!("a\tfailed\t{columns}\nb\tfailed\t{columns}\n"), old),
            ("lab-mid.tsv", format!("c\tfailed\t{}\n", at("T09:00:00Z")), new),
            ("lab-end.tsv", format!("c\tpassed\t{}\n", at("T10:00:00Z")), old),
            ("labels-x.tsv", "of another script\n".to_owned(), new),
        ] {
            let path = folder.join(file);
            std::fs::write(&path, text).unwrap();
            std::fs::File::options().append(true).open(&path).unwrap().set_modified(changed).unwrap();
        }
        let rows = recorded(folder).unwrap();
        let told: Vec<_> = rows.iter().map(|(name, row)| (name.as_str(), row.passed, row.commit.as_str())).collect();
        assert_eq!(told, [("a", true, "new"), ("b", false, "old"), ("c", true, "end")]);
        assert_eq!(rows["c"].date, "2026-01-02");
    }

    #[test]
    fn what_is_no_row_is_an_error() {
        let outcome = Outcome { passed: true, found: "83.1\tDebian".into() };
        assert!(Row::of(&outcome, "abc").unwrap_err().to_string().contains("2 columns"));
        assert!(merge("# Lab\n", &BTreeMap::new(), &[]).unwrap_err().to_string().contains("no table"));
        let broken = format!("{HEADER}\n{RULE}\n| a | b |\n");
        assert!(
            format!("{:#}", merge(&broken, &BTreeMap::new(), &[]).unwrap_err()).contains("2 columns in place of 10")
        );
        let odd = format!("{HEADER}\n{RULE}\n| a | b | c | d | e | f | g | green | i | j |\n");
        assert!(format!("{:#}", merge(&odd, &BTreeMap::new(), &[]).unwrap_err()).contains("no result"));
    }
}
