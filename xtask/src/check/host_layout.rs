//! An image whose packages are compiled on the host: the folder that takes the stage's place has their binaries in one
//! folder, and nothing else.

use super::subject::{Built, Subject};
use crate::dockerfile::pattern::{Stars, matches};
use crate::dockerfile::{Word, join};
use crate::suite::yaml::Problem;

pub(super) fn check(subject: &Subject<'_>) -> Vec<Problem> {
    subject.built.iter().flat_map(|built| of_image(subject, built).unwrap_or_default()).collect()
}

/// Where the binaries of an image are in a build on the host; none where nothing of it is compiled.
fn there(subject: &Subject<'_>, built: &Built<'_>) -> Vec<String> {
    let binaries = |package: &str| match subject.packages.member(package) {
        Some(package) => package.binaries().map(str::to_owned).collect(),
        // Cargo cannot be asked: most have the one of their own name.
        None => vec![package.to_owned()],
    };
    built.image.packages().flat_map(binaries).map(|binary| format!("/out/{binary}")).collect()
}

fn of_image(subject: &Subject<'_>, built: &Built<'_>) -> Option<Vec<Problem>> {
    let all = there(subject, built);
    let first = all.first()?;
    let target = built.target?;
    let replaced = built.compiles()?;
    let name = built.file.stages[replaced].name.as_deref()?;
    let fits = |source: &Word| {
        let source = join("/".into(), &source.text);
        all.iter().any(|there| {
            *there == source || there.starts_with(&format!("{}/", source.as_str().trim_end_matches('/'))) || {
                matches(source.as_str(), there, Stars::Single)
            }
        })
    };
    let listed = all.join(", ");
    let mut problems = Vec::new();
    for stage in built.file.needed(target, Some(replaced)).0 {
        for instruction in &built.file.stages[stage].instructions {
            let copied = instruction
                .flag("from")
                .zip(instruction.copies())
                .map(|(from, (sources, _))| (from.clone(), sources.into_iter().cloned().collect::<Vec<Word>>()));
            let mounted = instruction.mounts().into_iter().filter_map(|mount| Some((mount.from?, vec![mount.source])));
            for (from, sources) in copied.into_iter().chain(mounted) {
                if !from.known || built.file.stage(&from.text) != Some(replaced) {
                    continue;
                }
                if !from.text.eq_ignore_ascii_case(name) {
                    let message = format!(
                        "{} --from={}: a build on the host replaces stages by their names alone",
                        instruction.keyword, from.text
                    );
                    problems.push(built.on_line(instruction.line, message, Some(format!("write --from={name}"))));
                }
                for source in sources.iter().filter(|source| source.known && !fits(source)) {
                    let message = format!(
                        "{} --from={}: {} is not there in a build on the host, where a folder with {listed} alone takes the \
                         place of the stage",
                        instruction.keyword, from.text, source.text
                    );
                    let hint = format!(
                        "let the stage put its binary at {first}, and copy it from there, or leave the image without `package`"
                    );
                    problems.push(built.on_line(instruction.line, message, Some(hint)));
                }
            }
        }
    }
    Some(problems)
}
