//! `check` on small projects: what it has to find, and what it must not.

#![allow(clippy::unwrap_used)]

mod copies;
mod image_paths;
mod inputs;
mod manifests;
mod once;
mod packages;
mod planted;
mod scan;
mod schema;
mod suites;

use camino::{Utf8Path, Utf8PathBuf};
use xtask::plan::{BuildMode, Format, Plan};
use xtask::suite::Suite;
use xtask::suite::yaml::Problems;
use xtask::target::kind::LAYOUT;

/// Classes whose tests have whole objects; those of the other classes have as much as they need.
const OF_WHOLE_OBJECTS: [&str; 14] = [
    "schema",
    "selector",
    "port",
    "port-unlisted",
    "service",
    "volume",
    "volume-unused",
    "limits",
    "rights",
    "webhook",
    "workload",
    "route",
    "policy",
    "security",
];

/// A folder with files, gone at the end.
pub struct Project {
    _dir: tempfile::TempDir,
    pub root: Utf8PathBuf,
}

impl Project {
    /// These files; those that every project has come by themselves where they are not among them. A file without a
    /// text is left out.
    pub fn new(files: &[(&str, &str)]) -> Project {
        let project = Project::bare(&[]);
        let node = "versions: {}\nengine_packages: []\npieces:\n  - {name: node, kind: image, about: a, recipe: r, \
                    replaces: 'node.example/node:1'}\n";
        for (path, text) in
            [("kind.yaml", "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n"), ("images/setup.yaml", node)]
        {
            project.write(path, text);
        }
        for (path, text) in files {
            project.write(path, text);
        }
        project
    }

    /// These files alone.
    pub fn bare(files: &[(&str, &str)]) -> Project {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap().canonicalize_utf8().unwrap();
        let project = Project { _dir: dir, root };
        for (path, text) in files {
            project.write(path, text);
        }
        project
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A pipe that nobody writes into: who reads it waits forever.
    pub fn pipe(&self, path: &str) {
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600));
        rustix::fs::mknodat(rustix::fs::CWD, self.root.join(path).as_std_path(), kind, mode, 0).unwrap();
    }

    /// What `check` finds in the suite `s`, but for what it says of objects that are not whole.
    pub fn findings(&self) -> Vec<String> {
        self.findings_where(|id| !OF_WHOLE_OBJECTS.contains(&id))
    }

    /// What `check` finds of the classes that this takes.
    pub fn findings_where(&self, takes: impl Fn(&str) -> bool) -> Vec<String> {
        match Suite::load(&self.root, "s") {
            Ok(suite) => {
                let found = xtask::check::findings(&self.root, &suite).unwrap();
                found.iter().filter(|one| takes(one.class.id)).map(|one| one.problem.to_string()).collect()
            }
            Err(Problems(found)) => found.iter().map(ToString::to_string).collect(),
        }
    }

    /// The plan of the suite `s` as JSON.
    pub fn plan(&self) -> serde_json::Value {
        let suite = Suite::load(&self.root, "s").unwrap();
        let plan =
            Plan::load(&self.root, &suite, BuildMode::Host, &LAYOUT).unwrap_or_else(|problems| panic!("{problems}"));
        serde_json::from_str(&plan.print(Format::Json)).unwrap()
    }
}

/// A suite with one image; `keys` are added to it.
pub fn image_suite(keys: &str) -> String {
    format!(
        "name: s\nphases: [c, b]\ncluster: {{name: s, config: kind.yaml, node: node, phase: c}}\n\
         images:\n  - {{name: shop, dockerfile: Dockerfile, reference: 'r.example/shop:1', phase: b{keys}}}\n"
    )
}

/// A suite with one image and these groups of one manifest each.
pub fn manifest_suite(groups: &[&str]) -> String {
    let groups: String =
        groups.iter().map(|name| format!("  - {{name: {name}, files: [{name}.yaml], phase: c}}\n")).collect();
    format!("{}manifests:\n{groups}", image_suite(""))
}

/// Asserts that exactly these are found, each by its beginning `file:line:` and a part of its text; no `…` is nothing.
pub fn assert_found(what: &str, found: &[String], expected: &[&str]) {
    let fits = |finding: &String, expected: &&str| {
        let (place, text) = expected.split_once(' ').unwrap();
        finding.starts_with(place) && finding.contains(text)
    };
    let all = expected.iter().all(|expected| found.iter().any(|finding| fits(finding, expected)));
    assert!(all && found.len() == expected.len(), "{what}\nexpected {expected:#?}\nfound {found:#?}");
}
