//! A COPY, ADD or mount whose source is not in the build context.

use camino::Utf8Path;

use super::context::{Context, Found};
use super::layout::is_remote;
use super::subject::{Built, Subject, close, listed};
use crate::dockerfile::pattern::is_pattern;
use crate::dockerfile::{Base, Instruction, Word};
use crate::suite::yaml::{Problem, did_you_mean};

pub(super) fn check(subject: &Subject<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for built in &subject.built {
        problems.extend(bases(built));
        for instruction in built.instructions() {
            if matches!(instruction.keyword.as_str(), "COPY" | "ADD") {
                copy(built, instruction, &mut problems);
            }
            for mount in instruction.mounts().iter().filter(|mount| mount.kind == "bind") {
                match &mount.from {
                    Some(from) => problems.extend(stage(built, instruction, "RUN --mount", from)),
                    None => problems.extend(source(built, instruction, "RUN --mount", &mount.source)),
                }
            }
        }
    }
    problems
}

/// Whether a stage is named wrong: what hangs on it is not known.
pub(super) fn has_slips(built: &Built<'_>) -> bool {
    let is_slip = |instruction: &Instruction| {
        let mounted = instruction.mounts().into_iter().filter_map(|mount| mount.from);
        let mut names = instruction.flag("from").cloned().into_iter().chain(mounted);
        names.any(|name| stage(built, instruction, "", &name).is_some())
    };
    !bases(built).is_empty() || built.instructions().any(is_slip)
}

/// Stages that start from an image whose name is nearly that of an earlier stage, which nothing else uses.
fn bases(built: &Built<'_>) -> Vec<Problem> {
    let needed = built.target.map(|target| built.file.needed(target, None).0).unwrap_or_default();
    let mut problems = Vec::new();
    for at in needed.iter().copied() {
        let stage = &built.file.stages[at];
        let Base::Image(image) = &stage.base else { continue };
        let unused = || (0..at).filter(|before| !needed.contains(before));
        let names = || unused().filter_map(|before| built.file.stages[before].name.as_deref());
        if image.contains(['/', ':', '.', '@']) || close(image, names()).is_none() {
            continue;
        }
        let message = format!("FROM {image}: no stage before it has that name");
        problems.push(built.on_line(stage.line, message, None).meant(image, names()));
    }
    problems
}

fn copy(built: &Built<'_>, instruction: &Instruction, problems: &mut Vec<Problem>) {
    let keyword = instruction.keyword.as_str();
    let Some((from, to)) = instruction.copies() else {
        let message = format!("{keyword} needs what is copied and where to");
        problems.push(built.on_line(instruction.line, message, Some(format!("write `{keyword} FROM TO`"))));
        return;
    };
    let several = from.len() + instruction.heredocs.len() > 1;
    if several && to.known && !to.text.ends_with('/') && !to.text.ends_with('.') {
        let message =
            format!("{keyword} of several files to {}, which is no folder without a slash at its end", to.text);
        problems.push(built.on_line(instruction.line, message, Some(format!("write `{}/`", to.text))));
    }
    if let Some(name) = instruction.flag("from") {
        problems.extend(stage(built, instruction, "COPY", name));
        return;
    }
    for word in from {
        if !is_remote(&word.text) {
            problems.extend(source(built, instruction, keyword, word));
        } else if keyword == "COPY" && word.text.contains("://") {
            let message = format!("COPY {}: only ADD fetches addresses", word.text);
            problems.push(built.on_line(instruction.line, message, Some("write ADD".into())));
        }
    }
}

/// What is wrong with `--from=name`: a name that is nearly that of a stage. Any other is an image's.
fn stage(built: &Built<'_>, instruction: &Instruction, keyword: &str, name: &Word) -> Option<Problem> {
    let text = &name.text;
    if !name.known || text.contains(['/', ':', '.']) || built.file.stage(text).is_some() {
        return None;
    }
    let names = || built.file.stages.iter().filter_map(|stage| stage.name.as_deref());
    close(text, names())?;
    let message = format!("{keyword} --from={text}: no stage has that name");
    Some(built.on_line(instruction.line, message, None).meant(text, names()))
}

fn source(built: &Built<'_>, instruction: &Instruction, keyword: &str, word: &Word) -> Option<Problem> {
    if !word.known {
        return None;
    }
    let (what, hint) = find(&built.context, &word.text)?;
    let problem = built.on_line(instruction.line, format!("{keyword} {}: {what}", word.text), hint);
    Some(match right(&built.context, &word.text) {
        Some(right) => problem.replace(&word.text, &right),
        None => problem,
    })
}

/// What a path that is not there was meant to be, where there is but one such, written as the path is.
fn right(context: &Context, path: &str) -> Option<String> {
    let clean = Context::clean(path);
    if is_pattern(clean.as_str()) {
        return None;
    }
    let slips = context.slips_of(&clean);
    let [only] = slips.as_slice() else { return None };
    let end = path.trim_end_matches('/').len();
    let ahead = path[..end].strip_suffix(clean.as_str())?;
    (context.find(only) != Found::Ignored).then(|| format!("{ahead}{only}{}", &path[end..]))
}

/// Why `path` is not in the context, if it is not.
fn find(context: &Context, path: &str) -> Option<(String, Option<String>)> {
    let clean = Context::clean(path);
    if context.may_be_made(&clean) {
        return None;
    }
    let ignored = |what: &str| {
        let hint = format!("add `!{clean}` to it");
        (format!("{} keeps {what} out of the build context", context.ignore.file), Some(hint))
    };
    if is_pattern(clean.as_str()) {
        let matching = context.glob(&clean);
        if matching.is_empty() {
            let fixed = clean.ancestors().find(|path| !is_pattern(path.as_str())).unwrap_or(Utf8Path::new(""));
            let hint = listed(fixed, &context.names(fixed));
            return Some(("nothing in the build context matches it".into(), hint));
        }
        let all = matching.iter().all(|path| context.find(path) == Found::Ignored);
        return all.then(|| ignored("all that it matches"));
    }
    match context.find(&clean) {
        Found::File | Found::Folder => None,
        Found::Ignored => Some(ignored("it")),
        Found::Nothing => {
            let folder = clean.parent().unwrap_or(Utf8Path::new(""));
            let names = context.names(folder);
            let paths: Vec<String> = names.iter().map(|name| folder.join(name).into_string()).collect();
            let near = context.slips_of(&clean).first().map(|right| format!("did you mean `{right}`?"));
            let near = near.or_else(|| did_you_mean(clean.as_str(), paths.iter().map(String::as_str)));
            Some(("it is not in the build context".into(), near.or_else(|| listed(folder, &names))))
        }
    }
}
