//! The command that runs the specs, where they are no cargo package: a program, and the files of the project among its
//! arguments.

use camino::Utf8Path;

use super::subject::close;
use crate::suite::yaml::Problem;
use crate::suite::{SpecsProgram, Suite};

pub(super) fn check(root: &Utf8Path, suite: &Suite) -> Vec<Problem> {
    let Some(specs) = &suite.specs else { return Vec::new() };
    let SpecsProgram::Command([program, arguments @ ..]) = specs.runs() else { return Vec::new() };
    let mut problems: Vec<Problem> = self::program(root, suite, program).into_iter().collect();
    for (at, argument) in arguments.iter().enumerate() {
        problems.extend(self::argument(root, suite, at + 1, argument));
    }
    problems
}

fn program(root: &Utf8Path, suite: &Suite, program: &str) -> Option<Problem> {
    let place = crate::at!["specs", "program", 0];
    if !program.contains('/') {
        let message = format!("`{program}`: no program of that name is on PATH");
        let hint = format!("install it; a file of the project has a slash in it, as in `./{program}`");
        return which::which(program).is_err().then(|| suite.source.problem(&place, message).hint(Some(hint)));
    }
    let path = root.join(program);
    let why = match path.metadata() {
        Ok(meta) if meta.is_file() && is_executable(&meta) => return None,
        Ok(meta) if meta.is_file() => {
            let hint = format!("chmod +x {program}");
            let message = format!("`{program}`: the file is not executable");
            return Some(suite.source.problem(&place, message).hint(Some(hint)));
        }
        Ok(_) => "it is no file".to_owned(),
        Err(error) => format!("cannot read it: {error}"),
    };
    Some(crate::plan::unusable(root, suite, &place, Utf8Path::new(program), &why))
}

fn is_executable(meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    meta.permissions().mode() & 0o111 != 0
}

/// An argument that is no path of the project, and is nearly one. What else it is only the program knows.
fn argument(root: &Utf8Path, suite: &Suite, at: usize, argument: &str) -> Option<Problem> {
    if !argument.contains(['/', '.']) || argument.starts_with('-') || root.join(argument).exists() {
        return None;
    }
    let near = crate::plan::neighbours(root, Utf8Path::new(argument));
    let near = || near.iter().map(String::as_str);
    close(argument, near())?;
    let message = format!("`{argument}`: there is no such file or folder");
    let place = crate::at!["specs", "program", at];
    Some(suite.source.problem(&place, message).meant(argument, near()))
}
