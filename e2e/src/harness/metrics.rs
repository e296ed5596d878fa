//! Reads metrics in Prometheus' text format, and tells what changed between two readings.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};

/// One reading of a `/metrics` page.
#[derive(Debug)]
pub(crate) struct Metrics(Vec<Series>);

/// One line of it.
#[derive(Debug, PartialEq)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Metrics {
    /// # Errors
    /// The first line that is neither a comment nor a series.
    pub(crate) fn parse(text: &str) -> Result<Metrics> {
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| Series::parse(line).with_context(|| format!("metrics line `{line}`")))
            .collect::<Result<Vec<_>>>()
            .map(Metrics)
    }

    /// Every series of that name whose labels hold all of `labels`.
    pub(crate) fn series<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = &'a Series> {
        self.0.iter().filter(move |series| {
            series.name == name
                && labels.iter().all(|(key, value)| series.labels.get(*key).is_some_and(|found| found == value))
        })
    }

    /// The sum of these series; 0 where there are none, as for a counter with labels that was never touched.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.series(name, labels).map(|series| series.value).sum()
    }

    /// Whether there is any series of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.series(name, &[]).next().is_some()
    }

    /// By how much a sum has grown since `earlier`.
    pub(crate) fn rise(&self, earlier: &Metrics, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.sum(name, labels) - earlier.sum(name, labels)
    }
}

impl Series {
    fn parse(line: &str) -> Result<Series> {
        let (name, labels, rest) = match line.find('{') {
            Some(brace) => {
                let (labels, rest) = parse_labels(&line[brace + 1..])?;
                (&line[..brace], labels, rest)
            }
            None => {
                let (name, rest) = line.split_once(char::is_whitespace).context("there is no value")?;
                (name, BTreeMap::new(), rest)
            }
        };
        // A timestamp or an exemplar may follow the value.
        let value = rest.split_whitespace().next().context("there is no value")?;
        let value = value.parse().with_context(|| format!("the value {value} is not a number"))?;
        Ok(Series { name: name.to_owned(), labels, value })
    }
}

/// Reads `key="value",…}`; returns the labels and what follows the brace.
fn parse_labels(mut text: &str) -> Result<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        text = text.trim_start_matches([',', ' ']);
        if let Some(rest) = text.strip_prefix('}') {
            return Ok((labels, rest));
        }
        let (key, rest) = text.split_once("=\"").context("a label has no quoted value")?;
        let (value, rest) = parse_quoted(rest)?;
        labels.insert(key.to_owned(), value);
        text = rest;
    }
}

/// Reads up to the closing quote; returns the text without its escapes and what follows.
fn parse_quoted(text: &str) -> Result<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, other)) => value.push(other),
                None => break,
            },
            other => value.push(other),
        }
    }
    bail!("a label's value is not closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"# HELP signals Signals received.
# TYPE signals counter
signals_total{source_type="prometheus-alert",severity="critical"} 3
signals_total{source_type="kubernetes-event",severity="warning"} 4.0 1700000000000
odd{text="a \"quoted\", {braced} \\ and\nbroken", } 1e3
up 1
latency_bucket{le="+Inf"} 7
latency_sum 0.25
# EOF
"#;

    #[test]
    fn sums_the_series_that_carry_the_labels() {
        let metrics = Metrics::parse(PAGE).unwrap();
        assert_eq!(metrics.sum("signals_total", &[]), 7.0);
        assert_eq!(metrics.sum("signals_total", &[("severity", "critical")]), 3.0);
        assert_eq!(metrics.sum("signals_total", &[("severity", "info")]), 0.0);
        assert_eq!(metrics.sum("up", &[]), 1.0);
        assert_eq!(metrics.sum("latency_bucket", &[("le", "+Inf")]), 7.0);
        assert!(metrics.has("latency_sum"));
        assert!(!metrics.has("signals"));
    }

    #[test]
    fn reads_escapes_and_exponents() {
        let metrics = Metrics::parse(PAGE).unwrap();
        let odd = metrics.series("odd", &[]).next().unwrap();
        assert_eq!(odd.labels["text"], "a \"quoted\", {braced} \\ and\nbroken");
        assert_eq!(odd.value, 1000.0);
    }

    #[test]
    fn tells_the_rise_also_of_a_series_that_is_new() {
        let earlier = Metrics::parse("signals_total{severity=\"info\"} 2").unwrap();
        let later =
            Metrics::parse("signals_total{severity=\"info\"} 5\nsignals_total{severity=\"critical\"} 1").unwrap();
        assert_eq!(later.rise(&earlier, "signals_total", &[]), 4.0);
        assert_eq!(later.rise(&earlier, "signals_total", &[("severity", "critical")]), 1.0);
    }

    #[test]
    fn names_the_line_that_it_cannot_read() {
        for broken in ["up", "up one", "up{a=\"b} 1", "up{a} 1"] {
            let error = Metrics::parse(broken).unwrap_err();
            assert!(error.to_string().contains(broken), "{error:#}");
        }
    }
}
