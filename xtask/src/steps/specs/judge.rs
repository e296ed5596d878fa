//! What a run of the specs' program comes to, from what was to run, what it told, and how it ended. Pure: the exit code
//! alone says nothing, for a program that ends in the middle may well end with 0.

use std::collections::{BTreeMap, BTreeSet};

use e2e_support::Ended;
use serde_json::Value;

/// One line of the specs' events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    Listed(Vec<String>),
    Started(String),
    Ended(String, End),
}

/// What a spec itself came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Passed,
    Ignored,
    /// With what it said.
    Failed(String),
}

/// A spec that is not green after a run of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Red {
    /// It ended so, with this message.
    Failed(String),
    /// It began and was not heard of again, for this reason.
    NotEnded(String),
    /// It never began, for this reason.
    NotRun(String),
}

/// What one run of the program comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) red: BTreeMap<String, Red>,
    /// What is wrong with the run beside its specs, so that no other attempt at one of them can mend it.
    pub(super) fault: Option<String>,
}

/// Listens to one run of the program.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// What has to end: in the order in which it became known.
    due: Vec<String>,
    started: BTreeSet<String>,
    ended: BTreeMap<String, End>,
    lines: usize,
    fault: Option<String>,
    torn: bool,
}

impl Ledger {
    /// For a program that has to bring each of `due` to its end.
    pub(super) fn new(due: &[String]) -> Self {
        Self { due: due.to_vec(), ..Self::default() }
    }

    /// Takes the next whole line; returns what is to be told of it.
    pub(super) fn line(&mut self, line: &str) -> Option<Said> {
        self.lines += 1;
        match parse(line) {
            Ok(Some(said)) => self.take(said),
            Ok(None) => None,
            Err(why) => {
                let shown: String = line.chars().take(200).collect();
                self.fault(format!("line {} of the specs' events {why}: {}", self.lines, shown.trim_end()));
                None
            }
        }
    }

    fn take(&mut self, said: Said) -> Option<Said> {
        match &said {
            Said::Listed(names) => {
                let new: Vec<String> = names.iter().filter(|name| !self.due.contains(name)).cloned().collect();
                self.due.extend(new.iter().cloned());
                (!new.is_empty()).then_some(Said::Listed(new))
            }
            Said::Started(spec) => {
                self.started.insert(spec.clone());
                Some(said)
            }
            Said::Ended(spec, _) if !self.due.contains(spec) => {
                let why = "it was told to have ended, and is none of the specs that were listed";
                let failed = End::Failed(why.to_owned());
                self.due.push(spec.clone());
                self.ended.insert(spec.clone(), failed.clone());
                Some(Said::Ended(spec.clone(), failed))
            }
            // What has failed stays so, whatever is told of it afterwards.
            Said::Ended(spec, _) if matches!(self.ended.get(spec), Some(End::Failed(_))) => None,
            Said::Ended(spec, end) => {
                self.ended.insert(spec.clone(), end.clone());
                Some(said)
            }
        }
    }

    /// The file ends within a line: who wrote it died, or the disk is full.
    pub(super) fn torn(&mut self) {
        self.torn = true;
    }

    /// Something that makes what was told worthless.
    pub(super) fn fault(&mut self, what: String) {
        self.fault.get_or_insert(what);
    }

    /// The verdict on a program that ended so and said `last` last.
    pub(super) fn judge(self, ended: Ended, last: &str) -> Verdict {
        let how = match ended {
            Ended::Exited(_) | Ended::Signalled(_) => format!("the specs' program ended with {ended}"),
            Ended::DeadlinePassed { .. } | Ended::Cancelled => format!("the specs' program was {ended}"),
        };
        let how = if last.is_empty() { how } else { format!("{how}: {last}") };
        let mut red = BTreeMap::new();
        for spec in &self.due {
            let state = match self.ended.get(spec) {
                Some(End::Passed | End::Ignored) => continue,
                Some(End::Failed(message)) => Red::Failed(message.clone()),
                None if self.started.contains(spec) => Red::NotEnded(how.clone()),
                None => Red::NotRun(how.clone()),
            };
            red.insert(spec.clone(), state);
        }
        let missing = red.values().any(|red| !matches!(red, Red::Failed(_)));
        // An exit code other than 0 repeats that specs failed; an end by force is explained only by specs cut short.
        let explained = match ended {
            Ended::Exited(0) => true,
            Ended::Exited(_) => !red.is_empty(),
            Ended::Signalled(_) | Ended::DeadlinePassed { .. } | Ended::Cancelled => missing,
        };
        let fault = self.fault.or_else(|| {
            if self.due.is_empty() {
                Some(format!("no spec was listed; {how}"))
            } else if self.torn && !missing {
                Some(format!("the specs' events end within a line; {how}"))
            } else if !explained {
                Some(format!("all specs had ended, but {how}"))
            } else {
                None
            }
        });
        Verdict { red, fault }
    }
}

/// The event in a line; none of a kind that is not known here.
fn parse(line: &str) -> Result<Option<Said>, String> {
    let event: Value = serde_json::from_str(line).map_err(|error| format!("is no JSON ({error})"))?;
    let spec = || event["spec"].as_str().map(str::to_owned).ok_or_else(|| "names no spec".to_owned());
    match event["event"].as_str() {
        Some("specs_listed") => {
            let names = event["specs"].as_array().ok_or("lists nothing")?;
            let names = names.iter().map(|name| name.as_str().map(str::to_owned));
            Ok(Some(Said::Listed(names.collect::<Option<_>>().ok_or("lists something else than names")?)))
        }
        Some("spec_started") => Ok(Some(Said::Started(spec()?))),
        Some("spec_finished") => {
            let message = event["message"].as_str().filter(|text| !text.is_empty()).unwrap_or("no message");
            let end = match event["outcome"].as_str() {
                Some("passed") => End::Passed,
                Some("ignored") => End::Ignored,
                Some("failed") => End::Failed(message.to_owned()),
                _ => return Err("has no outcome that is known".to_owned()),
            };
            Ok(Some(Said::Ended(spec()?, end)))
        }
        Some(_) => Ok(None),
        None => Err("is no event".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = r#"{"event":"specs_listed","specs":["one","two"]}"#;

    fn started(spec: &str) -> String {
        format!(r#"{{"event":"spec_started","spec":"{spec}"}}"#)
    }

    fn ended(spec: &str, outcome: &str) -> String {
        format!(r#"{{"event":"spec_finished","spec":"{spec}","outcome":"{outcome}","message":"because"}}"#)
    }

    fn judged(due: &[&str], lines: &[String], end: Ended) -> Verdict {
        let due: Vec<String> = due.iter().map(|&name| name.to_owned()).collect();
        let mut ledger = Ledger::new(&due);
        for line in lines {
            ledger.line(line);
        }
        ledger.judge(end, "last words")
    }

    /// Each red spec with what it is, and the fault.
    fn told(verdict: &Verdict) -> String {
        let red = verdict.red.iter().map(|(spec, red)| match red {
            Red::Failed(message) => format!("{spec} failed: {message}"),
            Red::NotEnded(why) => format!("{spec} did not end: {why}"),
            Red::NotRun(why) => format!("{spec} did not run: {why}"),
        });
        red.chain(verdict.fault.iter().map(|fault| format!("fault: {fault}"))).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn every_listed_spec_must_have_ended_whatever_the_exit_code_says() {
        let green = [LISTED.to_owned(), started("one"), ended("one", "passed"), ended("two", "ignored")];
        let in_the_middle = [LISTED.to_owned(), ended("one", "passed"), started("two")];
        let of_end = |ended: Ended| match ended {
            Ended::Exited(code) => format!("the specs' program ended with exit code {code}: last words"),
            Ended::Signalled(signal) => format!("the specs' program ended with signal {signal}: last words"),
            _ => "the specs' program was stopped: still running after its deadline of 1.0 s: last words".to_owned(),
        };
        for end in
            [Ended::Exited(0), Ended::Exited(1), Ended::Signalled(9), Ended::DeadlinePassed { deadline_ms: 1000 }]
        {
            let how = of_end(end);
            for (lines, expected) in [
                (&in_the_middle[..], format!("two did not end: {how}")),
                (&in_the_middle[..2], format!("two did not run: {how}")),
                (&[], format!("one did not run: {how}; two did not run: {how}")),
            ] {
                assert_eq!(told(&judged(&["one", "two"], lines, end)), expected);
            }
            let expected =
                if end == Ended::Exited(0) { String::new() } else { format!("fault: all specs had ended, but {how}") };
            assert_eq!(told(&judged(&["one", "two"], &green, end)), expected);
            assert!(told(&judged(&[], &[], end)).starts_with("fault: no spec was listed; the specs' program"));
        }
    }

    #[test]
    fn a_failed_spec_explains_an_exit_code_but_no_signal() {
        let lines = [LISTED.to_owned(), ended("one", "failed"), ended("two", "passed")];
        for code in [0, 101] {
            assert_eq!(told(&judged(&["one", "two"], &lines, Ended::Exited(code))), "one failed: because");
        }
        let verdict = judged(&["one", "two"], &lines, Ended::Signalled(6));
        assert_eq!(
            told(&verdict),
            "one failed: because; fault: all specs had ended, but the specs' program ended with signal 6: last words"
        );
    }

    #[test]
    fn what_was_not_listed_before_counts_once_it_is_told() {
        let green = [LISTED.to_owned(), ended("one", "passed"), ended("two", "passed")];
        assert_eq!(told(&judged(&["one"], &green, Ended::Exited(0))), "");
        assert_eq!(told(&judged(&["one"], &green[..2], Ended::Exited(0))).split(':').next(), Some("two did not run"));
        let why = "three failed: it was told to have ended, and is none of the specs that were listed";
        let stray = [ended("one", "passed"), ended("three", "passed"), ended("three", "passed")];
        assert_eq!(told(&judged(&["one"], &stray, Ended::Exited(0))), why);
    }

    #[test]
    fn what_failed_once_stays_failed() {
        let lines = [ended("one", "failed"), ended("one", "passed")];
        assert_eq!(told(&judged(&["one"], &lines, Ended::Exited(0))), "one failed: because");
    }

    #[test]
    fn what_cannot_be_read_is_never_green() {
        for (line, why) in [
            ("rubbish", "is no JSON (expected value at line 1 column 1)"),
            ("{\"spec\":\"one\"}", "is no event"),
            (r#"{"event":"spec_finished","spec":"one","outcome":"pased"}"#, "has no outcome that is known"),
            (r#"{"event":"spec_finished","outcome":"passed"}"#, "names no spec"),
            (r#"{"event":"specs_listed"}"#, "lists nothing"),
            (r#"{"event":"specs_listed","specs":[1]}"#, "lists something else than names"),
        ] {
            let lines = [line.to_owned(), ended("one", "passed")];
            let expected = format!("fault: line 1 of the specs' events {why}: {line}");
            assert_eq!(told(&judged(&["one"], &lines, Ended::Exited(0))), expected);
        }
        // Of later versions of the specs' program.
        let lines = ["{\"event\":\"weather\"}".to_owned(), ended("one", "passed")];
        assert_eq!(told(&judged(&["one"], &lines, Ended::Exited(0))), "");
    }

    #[test]
    fn a_torn_line_is_explained_by_a_spec_that_did_not_end_and_else_a_fault() {
        for (line, expected) in [(started("one"), "one did not end"), (ended("one", "passed"), "fault")] {
            let mut ledger = Ledger::new(&["one".to_owned()]);
            ledger.line(&line);
            ledger.torn();
            let verdict = ledger.judge(Ended::Exited(0), "");
            assert_eq!(told(&verdict).split(':').next(), Some(expected));
        }
    }
}
