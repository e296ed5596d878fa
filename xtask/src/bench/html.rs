//! The report as one page: the tables, and a chart of each contender's median run on one time axis.

use std::fmt::Write as _;

use super::document::Document;
use super::tables::{Section, lead, sections};
use crate::events::Timeline;
use crate::report::html::{Chart, page_of};
use crate::report::junit::escape;

/// What stands above the charts.
const CHARTS: &str = "<h2>The median run of each</h2>\n<p class=\"faint\">All on one time axis. More on a step: hover it, \
                      or reach it with the Tab key.</p>\n";

/// The page. `medians`: the median run of each contender, in their order.
pub(super) fn page(document: &Document, medians: &[(&str, &Timeline)]) -> String {
    let title =
        format!("{}: schedules compared, scenario {}", document.settings.suite, document.settings.scenario.name());
    let charts: Vec<Chart<'_>> = medians.iter().map(|(title, run)| Chart { title, run }).collect();
    let (first, rest): (Vec<Section>, Vec<Section>) = sections(document).into_iter().partition(|section| section.first);
    page_of(&title, &(lead_of(document) + &tables(&first) + CHARTS), &charts, &tables(&rest))
}

fn lead_of(document: &Document) -> String {
    let mut out = String::new();
    for paragraph in lead(document) {
        let _ = writeln!(out, "<p>{}</p>", inline(&paragraph));
    }
    if !document.comparison.void.is_empty() {
        out.push_str("<div class=\"void\"><strong>Void.</strong> The times must not be compared, for more than the order was different:<ul>");
        for reason in &document.comparison.void {
            let _ = write!(out, "<li>{}</li>", escape(reason));
        }
        out.push_str("</ul></div>\n");
    }
    out
}

fn tables(sections: &[Section]) -> String {
    let mut out = String::new();
    for section in sections {
        let _ = writeln!(out, "<h2>{}</h2>", escape(&section.title));
        for paragraph in &section.text {
            let _ = writeln!(out, "<p class=\"faint\">{}</p>", inline(paragraph));
        }
        if section.rows.is_empty() {
            continue;
        }
        // Words stand to the left, numbers to the right.
        let words = section.rows.iter().all(|row| row.len() == 2);
        let class = if words { " class=\"words\"" } else { "" };
        let _ = write!(out, "<div class=\"scroll\"><table{class}>\n<tr>");
        for cell in &section.head {
            let _ = write!(out, "<th>{}</th>", escape(cell));
        }
        out.push_str("</tr>\n");
        for row in &section.rows {
            out.push_str("<tr>");
            for cell in row {
                let _ = write!(out, "<td>{}</td>", inline(cell));
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</table></div>\n");
    }
    out
}

/// The little Markdown that tables and paragraphs use.
fn inline(text: &str) -> String {
    let mut out = escape(text);
    for (mark, open, close) in [("**", "<strong>", "</strong>"), ("*", "<em>", "</em>"), ("`", "<code>", "</code>")] {
        while let Some((before, rest)) = out.split_once(mark)
            && let Some((inner, after)) = rest.split_once(mark)
        {
            out = format!("{before}{open}{inner}{close}{after}");
        }
    }
    out
}
