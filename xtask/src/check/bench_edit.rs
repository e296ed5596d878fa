//! The change that `bench-setup` makes: that there is something to change. A run without it goes well all the same.

use super::subject::Subject;
use crate::plan;
use crate::suite::yaml::{Problem, read_file};

pub(super) fn check(subject: &Subject<'_>) -> Vec<Problem> {
    let source = &subject.suite.source;
    let Some(edit) = subject.suite.bench.as_ref().and_then(|bench| bench.edit.as_ref()) else { return Vec::new() };
    let problem = match read_file(&subject.root.join(&edit.file)) {
        Err(error) => {
            let (path, why) = (crate::at!["bench", "edit", "file"], format!("cannot read it: {error}"));
            plan::unusable(subject.root, subject.suite, &path, &edit.file, &why)
        }
        Ok(text) => {
            let count = String::from_utf8_lossy(&text).matches(&edit.find).count();
            if count == 1 {
                return Vec::new();
            }
            let message = format!("the text stands {count} times in {}", edit.file);
            let hint = Some("write one that is there once".to_owned());
            source.problem(&crate::at!["bench", "edit", "find"], message).hint(hint)
        }
    };
    vec![problem]
}
