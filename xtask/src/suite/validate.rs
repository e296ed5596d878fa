//! What serde cannot see: names that are used twice, names that nothing has, circles.

mod processes;

use std::collections::BTreeMap;

use camino::Utf8Path;

use super::yaml::{Problem, Problems, Segment, Source, did_you_mean};
use super::{Image, Specs, Suite};
use crate::at;
use crate::image_name::is_reference;

/// Everything that is wrong with a suite that parsed.
pub(super) fn validate(suite: &Suite) -> Result<(), Problems> {
    let mut check = Check { source: &suite.source, problems: Vec::new() };
    check.names(suite);
    check.phases(suite);
    check.references(suite);
    check.paths(suite);
    check.times(suite);
    check.circles(suite);
    check.bench(suite);
    check.processes(suite);
    Problems(check.problems).into_result()
}

/// What a host name's 63 characters leave of the longest name of a node, `<cluster>-0123abcd-control-plane`.
const LONGEST_CLUSTER: usize = 40;

struct Check<'s> {
    source: &'s Source,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn add(&mut self, path: &[Segment], message: String, hint: Option<String>) {
        self.problems.push(self.source.problem(path, message).hint(hint));
    }

    fn names(&mut self, suite: &Suite) {
        let mut named = vec![
            (at!["name"].to_vec(), suite.name.as_str()),
            (at!["cluster", "name"].to_vec(), suite.cluster.name.as_str()),
        ];
        for (index, image) in suite.images.iter().enumerate() {
            named.push((at!["images", index, "name"].to_vec(), &image.name));
        }
        for (index, group) in suite.manifests.iter().enumerate() {
            named.push((at!["manifests", index, "name"].to_vec(), &group.name));
        }
        for (path, name) in named {
            // Names become parts of container, file and step names.
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if name.is_empty() || name.len() > 50 || !name.chars().all(fits) || name.starts_with('-') {
                let hint = "1 to 50 lower-case letters, digits and hyphens, no hyphen first";
                self.add(&path, format!("`{name}` cannot be a name"), Some(hint.to_owned()));
            }
        }
        for (index, image) in suite.images.iter().enumerate().filter(|(_, image)| !is_reference(&image.reference)) {
            let hint = "as in localhost/shop:1, in lower-case letters".to_owned();
            let message = format!("no image can be called `{}`", image.reference);
            self.add(&at!["images", index, "reference"], message, Some(hint));
        }
        // kind's node is called `<cluster>-<id of the checkout>-control-plane`, which is also its host name.
        if suite.cluster.name.len() > LONGEST_CLUSTER {
            let message = format!("the cluster's name has {} characters", suite.cluster.name.len());
            self.add(&at!["cluster", "name"], message, Some(format!("{LONGEST_CLUSTER} at most")));
        }
        self.unique(
            "phase",
            suite.phases.iter().enumerate().map(|(i, phase)| (at!["phases", i].to_vec(), phase.as_str())),
        );
        self.unique(
            "image",
            suite.images.iter().enumerate().map(|(i, image)| (at!["images", i, "name"].to_vec(), image.name.as_str())),
        );
        self.unique(
            "image reference",
            suite
                .images
                .iter()
                .enumerate()
                .map(|(i, image)| (at!["images", i, "reference"].to_vec(), image.reference.as_str())),
        );
        self.unique(
            "group of manifests",
            suite
                .manifests
                .iter()
                .enumerate()
                .map(|(i, group)| (at!["manifests", i, "name"].to_vec(), group.name.as_str())),
        );
        let files = suite.manifests.iter().enumerate().flat_map(|(i, group)| {
            group
                .files
                .iter()
                .enumerate()
                .map(move |(j, file)| (at!["manifests", i, "files", j].to_vec(), file.as_str()))
        });
        let folders = suite.manifests.iter().enumerate().filter_map(|(i, group)| {
            Some((at!["manifests", i, "kustomize"].to_vec(), group.kustomize.as_ref()?.as_str()))
        });
        self.unique("manifest", files.chain(folders));
        if let Some(build) = &suite.build {
            self.unique(
                "package",
                build
                    .packages
                    .iter()
                    .enumerate()
                    .map(|(i, package)| (at!["build", "packages", i].to_vec(), package.as_str())),
            );
        }
        self.unique(
            "piece",
            suite
                .cluster
                .preload
                .iter()
                .enumerate()
                .map(|(i, piece)| (at!["cluster", "preload", i].to_vec(), piece.as_str())),
        );
    }

    fn unique<'a>(&mut self, what: &str, named: impl IntoIterator<Item = (Vec<Segment>, &'a str)>) {
        let mut seen: BTreeMap<String, Vec<Segment>> = BTreeMap::new();
        for (path, name) in named {
            if let Some(first) = seen.get(name) {
                let line = self.source.problem(first, "").line;
                self.add(
                    &path,
                    format!("{what} `{name}` stands here a second time"),
                    Some(format!("the first is in line {line}")),
                );
            } else {
                seen.insert(name.to_owned(), path);
            }
        }
    }

    fn known<'a>(&mut self, path: &[Segment], what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) {
        if !known.clone().any(|candidate| candidate == name) {
            let hint = did_you_mean(name, known.clone()).or_else(|| {
                let all: Vec<&str> = known.collect();
                (!all.is_empty()).then(|| format!("there are: {}", all.join(", ")))
            });
            self.add(path, format!("no {what} of the name `{name}`"), hint);
        }
    }

    fn phases(&mut self, suite: &Suite) {
        let mut used = vec![(at!["cluster", "phase"].to_vec(), &suite.cluster.phase)];
        for (index, image) in suite.images.iter().enumerate() {
            used.push((at!["images", index, "phase"].to_vec(), &image.phase));
        }
        for (index, group) in suite.manifests.iter().enumerate() {
            used.push((at!["manifests", index, "phase"].to_vec(), &group.phase));
        }
        if let Some(specs) = &suite.specs {
            used.push((at!["specs", "phase"].to_vec(), &specs.phase));
        }
        for (path, phase) in &used {
            self.known(path, "phase", phase, suite.phases.iter().map(String::as_str));
        }
        for (index, phase) in suite.phases.iter().enumerate() {
            if !used.iter().any(|(_, name)| *name == phase) {
                self.add(
                    &at!["phases", index],
                    format!("nothing belongs to phase `{phase}`"),
                    Some("remove it, or name it as some part's `phase`".to_owned()),
                );
            }
        }
    }

    fn references(&mut self, suite: &Suite) {
        let packages: &[String] = suite.build.as_ref().map_or(&[], |build| &build.packages);
        let packages = packages.iter().map(String::as_str);
        for (index, image) in suite.images.iter().enumerate() {
            if let Some(package) = &image.package {
                self.known(&at!["images", index, "package"], "package in `build.packages`", package, packages.clone());
            }
            for (at, package) in image.packages.iter().enumerate() {
                let path = at!["images", index, "packages", at];
                self.known(&path, "package in `build.packages`", package, packages.clone());
            }
            self.compiled(index, image);
        }
        let groups = suite.manifests.iter().map(|group| group.name.as_str());
        for (index, group) in suite.manifests.iter().enumerate() {
            for (at, need) in group.needs.iter().enumerate() {
                self.known(&at!["manifests", index, "needs", at], "group of manifests", need, groups.clone());
            }
            if group.sources().next().is_none() {
                let message = format!("group `{}` has no manifests", group.name);
                let hint = "name `files`, or the folder of a kustomization as `kustomize`".to_owned();
                self.add(&at!["manifests", index, "files"], message, Some(hint));
            }
        }
        if let Some(specs) = &suite.specs {
            if let Some(package) = &specs.package {
                self.known(&at!["specs", "package"], "package in `build.packages`", package, packages);
            }
            self.specs(specs);
            for (at, need) in specs.needs.iter().enumerate() {
                self.known(&at!["specs", "needs", at], "group of manifests", need, groups.clone());
            }
        }
    }

    /// What an image says of its binaries, where one word of it contradicts another.
    fn compiled(&mut self, index: usize, image: &Image) {
        if image.package.is_some() && !image.packages.is_empty() {
            let hint = "write all of them as `packages: […]`".to_owned();
            let message = format!("image `{}` has `package` and `packages`", image.name);
            self.add(&at!["images", index, "package"], message, Some(hint));
        }
        let packages = image.packages.iter().enumerate();
        self.unique(
            "package of the image",
            packages.map(|(at, name)| (at!["images", index, "packages", at].to_vec(), name.as_str())),
        );
        if let (Some(stage), false) = (&image.stage, image.is_compiled()) {
            let message =
                format!("image `{}` has no package whose binaries stand in for the stage `{stage}`", image.name);
            let hint = "name the `package`, or leave out the `stage`".to_owned();
            self.add(&at!["images", index, "stage"], message, Some(hint));
        }
    }

    /// The specs are a binary of a package, or a program that is there.
    fn specs(&mut self, specs: &Specs) {
        let wrong = match (&specs.package, &specs.binary, specs.program.is_empty()) {
            (Some(_), Some(_), true) => None,
            (None, None, false) if !specs.program[0].is_empty() => None,
            (None, None, _) => Some((at!["specs"].to_vec(), "nothing runs the specs")),
            (Some(_), None, true) => {
                Some((at!["specs", "package"].to_vec(), "no binary of the specs' package is named"))
            }
            (None, Some(_), true) => {
                Some((at!["specs", "binary"].to_vec(), "no package of the specs' binary is named"))
            }
            (.., false) => {
                Some((at!["specs", "program"].to_vec(), "the specs have a `program` and a package's binary"))
            }
        };
        if let Some((path, message)) = wrong {
            let hint = "write `package` and `binary`, or `program: [COMMAND, ARGUMENT…]` alone".to_owned();
            self.add(&path, message.to_owned(), Some(hint));
        }
    }

    fn paths(&mut self, suite: &Suite) {
        let mut paths = vec![(at!["cluster", "config"].to_vec(), &suite.cluster.config)];
        if let Some(dependencies) = suite.build.as_ref().and_then(|build| build.dependencies.as_ref()) {
            paths.push((at!["build", "dependencies", "dockerfile"].to_vec(), &dependencies.dockerfile));
        }
        for (index, image) in suite.images.iter().enumerate() {
            paths.push((at!["images", index, "dockerfile"].to_vec(), &image.dockerfile));
            paths.push((at!["images", index, "context"].to_vec(), &image.context));
        }
        for (index, group) in suite.manifests.iter().enumerate() {
            for (at, file) in group.files.iter().enumerate() {
                paths.push((at!["manifests", index, "files", at].to_vec(), file));
            }
            if let Some(folder) = &group.kustomize {
                paths.push((at!["manifests", index, "kustomize"].to_vec(), folder));
            }
        }
        if let Some(times) = suite.specs.as_ref().and_then(|specs| specs.times.as_ref()) {
            paths.push((at!["specs", "times"].to_vec(), times));
        }
        if let Some(edit) = suite.bench.as_ref().and_then(|bench| bench.edit.as_ref()) {
            paths.push((at!["bench", "edit", "file"].to_vec(), &edit.file));
        }
        for (path, file) in paths {
            self.within(&path, file, "the workspace");
        }
    }

    /// Whether `file` is relative to `what` and lies in it.
    fn within(&mut self, path: &[Segment], file: &Utf8Path, what: &str) {
        let outside =
            file.is_absolute() || file.components().any(|part| part.as_str() == "..") || file == Utf8Path::new("");
        if outside {
            self.add(
                path,
                format!("`{file}` does not stay within {what}"),
                Some(format!("write it relative to {what}")),
            );
        }
    }

    fn times(&mut self, suite: &Suite) {
        for (step, hints) in &suite.steps {
            for (key, value) in [("expected_s", hints.expected_s), ("deadline_s", hints.deadline_s)] {
                if let Some(value) = value
                    && !(value > 0.0 && value <= 86_400.0)
                {
                    self.add(
                        &at!["steps", step.as_str(), key],
                        format!("{key} of `{step}` is {value}"),
                        Some("seconds, above 0 and at most a day".to_owned()),
                    );
                }
            }
        }
    }

    fn bench(&mut self, suite: &Suite) {
        let Some(bench) = &suite.bench else { return };
        for (phase, seconds) in &bench.estimates_s {
            let path = at!["bench", "estimates_s", phase.as_str()];
            self.known(&path, "phase", phase, suite.phases.iter().map(String::as_str));
            if !(*seconds > 0.0 && *seconds <= 86_400.0) {
                let hint = "seconds, above 0 and at most a day";
                self.add(&path, format!("the estimate of `{phase}` is {seconds}"), Some(hint.to_owned()));
            }
        }
        let Some(edit) = &bench.edit else { return };
        for (path, text) in [
            (at!["bench", "edit", "replace"].to_vec(), &edit.replace),
            (at!["bench", "edit", "shown", "text"].to_vec(), &edit.shown.text),
        ] {
            if !text.contains("{edit}") {
                let hint = "write it where the text stands that is new each time";
                self.add(&path, format!("`{text}` has no `{{edit}}`"), Some(hint.to_owned()));
            }
        }
        if edit.find.is_empty() {
            self.add(&at!["bench", "edit", "find"], "there is no text to find".to_owned(), None);
        }
        if !edit.shown.path.starts_with('/') {
            let hint = Some(format!("write `/{}`", edit.shown.path));
            let message = format!("`{}` does not begin with a slash", edit.shown.path);
            self.add(&at!["bench", "edit", "shown", "path"], message, hint);
        }
    }

    /// Circles among the needs that the suite states itself. Those that manifests add are the plan's to find.
    fn circles(&mut self, suite: &Suite) {
        let index: BTreeMap<&str, usize> =
            suite.manifests.iter().enumerate().map(|(i, group)| (group.name.as_str(), i)).collect();
        // 0: not seen, 1: on the way here, 2: done.
        let mut state = vec![0_u8; suite.manifests.len()];
        for start in 0..suite.manifests.len() {
            let mut way = Vec::new();
            self.walk(suite, &index, start, &mut state, &mut way);
        }
    }

    fn walk(
        &mut self,
        suite: &Suite,
        index: &BTreeMap<&str, usize>,
        at: usize,
        state: &mut [u8],
        way: &mut Vec<usize>,
    ) {
        if state[at] != 0 {
            return;
        }
        state[at] = 1;
        way.push(at);
        for (position, need) in suite.manifests[at].needs.iter().enumerate() {
            let Some(&next) = index.get(need.as_str()) else {
                continue;
            };
            if state[next] == 1 {
                let from = way.iter().position(|&group| group == next).unwrap_or(0);
                let mut names: Vec<&str> =
                    way[from..].iter().map(|&group| suite.manifests[group].name.as_str()).collect();
                names.push(need);
                self.add(
                    &at!["manifests", at, "needs", position],
                    format!("groups wait for each other: {}", names.join(" → ")),
                    Some("remove one of these needs".to_owned()),
                );
            } else {
                self.walk(suite, index, next, state, way);
            }
        }
        way.pop();
        state[at] = 2;
    }
}

#[cfg(test)]
mod tests;
