//! The report for people, as Markdown.

use std::fmt::Write as _;

use super::document::Document;
use super::tables::{lead, sections};

/// The whole report.
pub(super) fn markdown(document: &Document) -> String {
    let mut out = format!("# {}: schedules compared\n", document.settings.suite);
    for paragraph in lead(document) {
        let _ = write!(out, "\n{paragraph}\n");
    }
    if !document.comparison.void.is_empty() {
        out.push_str("\n**Void.** The times must not be compared, for more than the order was different:\n\n");
        for reason in &document.comparison.void {
            let _ = writeln!(out, "* {reason}");
        }
    }
    for section in sections(document) {
        let _ = write!(out, "\n## {}\n", section.title);
        for paragraph in &section.text {
            let _ = write!(out, "\n{paragraph}\n");
        }
        if section.rows.is_empty() {
            continue;
        }
        out.push('\n');
        line(&mut out, &section.head);
        let rule = section.head.iter().enumerate().map(|(at, _)| if at == 0 { "---" } else { "---:" });
        line(&mut out, &rule.map(str::to_owned).collect::<Vec<_>>());
        for row in &section.rows {
            line(&mut out, row);
        }
    }
    out
}

fn line(out: &mut String, cells: &[String]) {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
    let _ = writeln!(out, "| {} |", cells.join(" | "));
}
