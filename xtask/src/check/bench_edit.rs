//! The change that `bench-setup` makes: that there is something to change. A run without it goes well all the same.

use super::Subject;
use crate::plan;
use crate::suite::yaml::{Problem, did_you_mean, read_file};

pub(super) fn check(subject: &Subject<'_>) -> Vec<Problem> {
    let source = &subject.suite.source;
    let Some(edit) = subject.suite.bench.as_ref().and_then(|bench| bench.edit.as_ref()) else { return Vec::new() };
    let problem = match read_file(&subject.root.join(&edit.file)) {
        Err(error) => {
            let near = plan::neighbours(subject.root, &edit.file);
            let hint = did_you_mean(edit.file.as_str(), near.iter().map(String::as_str));
            let message = format!("`{}`: cannot read it: {error}", edit.file);
            source.problem(&crate::at!["bench", "edit", "file"], message).hint(hint)
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
