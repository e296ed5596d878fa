//! One use of this machine by one checkout and one suite. Whatever a run makes outside of its checkout carries the
//! instance's name or its labels, so that no two checkouts meet and nobody removes what another one made.

mod files;

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::engine::{Container, Engine, Flavor};
use e2e_support::kind::Kind;

use crate::events::{Runs, SuiteLock};
use crate::paths::{Paths, checkout_id};
use crate::setup::engine;
use crate::suite::Suite;

pub use files::{Files, RunFile};

/// The label with the suite's name, on node images and through them on node containers, and on built images.
pub const SUITE_LABEL: &str = "gateway-e2e.suite";
/// The label with the folder of the checkout that made it.
pub const CHECKOUT_LABEL: &str = "gateway-e2e.checkout";
/// The label with the folder of the instance's runs, where its lock is.
pub const RUNS_LABEL: &str = "gateway-e2e.runs";

/// The names, labels and files of one instance.
#[derive(Clone, Debug)]
pub struct Instance {
    suite: String,
    checkout: Utf8PathBuf,
    id: String,
    cluster: String,
    runs: Runs,
    /// The files of its cluster.
    pub files: Files,
}

impl Instance {
    /// That of `suite` in the checkout of `paths`.
    ///
    /// # Errors
    /// When the checkout's folder cannot be resolved.
    pub fn of(paths: &Paths, suite: &Suite) -> Result<Instance> {
        // By its real folder: two ways to it through links are one checkout.
        let checkout =
            paths.root.canonicalize_utf8().with_context(|| format!("resolving the folder {}", paths.root))?;
        let id = checkout_id(&checkout);
        Ok(Instance {
            suite: suite.name.clone(),
            cluster: format!("{}-{id}", suite.cluster.name),
            files: Files::new(&paths.runs(), &suite.name),
            runs: Runs::of(&paths.root),
            checkout,
            id,
        })
    }

    /// A short text that no other checkout has.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The suite's name.
    pub fn suite(&self) -> &str {
        &self.suite
    }

    /// The folder of the checkout.
    pub fn checkout(&self) -> &Utf8Path {
        &self.checkout
    }

    /// The folder of its runs.
    pub fn runs(&self) -> Utf8PathBuf {
        self.runs.suite(&self.suite)
    }

    /// kind's name of the cluster.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The container that is the cluster's control plane.
    pub fn node(&self) -> String {
        Kind::node(&self.cluster)
    }

    /// The context in the cluster's kubeconfig.
    pub fn context(&self) -> String {
        Kind::context(&self.cluster)
    }

    /// What the engine calls an image that manifests call `reference`. Inside the instance's own cluster it has the
    /// name that manifests use.
    pub fn image(&self, reference: &str) -> String {
        let name_begins = reference.rfind('/').map_or(0, |slash| slash + 1);
        match reference[name_begins..].contains(':') {
            true => format!("{reference}-{}", self.id),
            false => format!("{reference}:latest-{}", self.id),
        }
    }

    /// The labels of everything that the instance makes in an engine.
    pub fn labels(&self) -> [(String, String); 3] {
        [
            (SUITE_LABEL.to_owned(), self.suite.clone()),
            (CHECKOUT_LABEL.to_owned(), self.checkout.to_string()),
            (RUNS_LABEL.to_owned(), self.runs().into_string()),
        ]
    }

    /// Whether the instance made this container.
    pub fn owns(&self, container: &Container) -> bool {
        let has = |key: &str, wanted: &str| label(container, key) == Some(wanted);
        has(SUITE_LABEL, &self.suite) && has(CHECKOUT_LABEL, self.checkout.as_str())
    }

    /// Takes the instance's lock, under which alone anything of it is made or removed. `holder` tells others who has it.
    ///
    /// # Errors
    /// When another process has it: which one.
    pub fn lock(&self, holder: &str) -> Result<SuiteLock> {
        self.runs.lock(&self.suite, holder)
    }

    /// The engine to work with: `choice`, else the one that has the instance's cluster; none where any will do.
    pub fn engine_choice(&self, choice: Option<Flavor>) -> Option<Flavor> {
        choice.or_else(|| self.files.engine())
    }

    /// The engines that may have something of the instance, for commands that remove it: `choice`, else the one that was
    /// used last, else all that answer.
    ///
    /// # Errors
    /// When the one that is meant does not answer, or none does.
    pub fn engines(&self, choice: Option<Flavor>, cache: &Utf8Path) -> Result<Vec<Engine>> {
        if let Some(flavor) = choice {
            return Ok(vec![engine::open(Some(flavor), cache)?]);
        }
        if let Some(flavor) = self.files.engine() {
            let opened = engine::open(Some(flavor), cache);
            return Ok(vec![opened.with_context(|| {
                format!("the cluster {} was made with {flavor}; to look elsewhere, name an --engine", self.cluster)
            })?]);
        }
        answering(cache)
    }
}

/// The engines that answer here.
///
/// # Errors
/// With what each said, where none does.
pub fn answering(cache: &Utf8Path) -> Result<Vec<Engine>> {
    let (mut engines, mut said) = (Vec::new(), Vec::new());
    for flavor in Flavor::ALL {
        match engine::open(Some(flavor), cache) {
            Ok(engine) => engines.push(engine),
            Err(error) => said.push(format!("{error:#}")),
        }
    }
    match engines.is_empty() {
        true => bail!("{}", said.join("\n")),
        false => Ok(engines),
    }
}

/// The value of a container's label.
pub fn label<'c>(container: &'c Container, key: &str) -> Option<&'c str> {
    container.labels.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::yaml::Source;

    fn instance(root: &Utf8Path) -> Instance {
        let suite = "name: s\nphases: [a]\ncluster: {name: shop, config: k, node: n, phase: a}\n";
        let suite = Suite::parse(Source::new("s.yaml", suite)).unwrap();
        let paths = Paths { root: root.to_owned(), target: root.join("target"), cache: root.join("cache") };
        Instance::of(&paths, &suite).unwrap()
    }

    #[test]
    fn checkouts_share_no_name_and_a_link_to_one_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let folders = ["one", "two"].map(|name| root.join(name));
        for folder in &folders {
            std::fs::create_dir(folder).unwrap();
        }
        std::os::unix::fs::symlink(&folders[0], root.join("link")).unwrap();
        let [one, two] = [0, 1].map(|at| instance(&folders[at]));
        let link = instance(&root.join("link"));
        assert_eq!(link.cluster(), one.cluster());
        for names in [|i: &Instance| i.cluster().to_owned(), Instance::node, Instance::context] {
            assert_ne!(names(&one), names(&two));
        }
        assert_ne!(one.image("localhost/shop:dev"), two.image("localhost/shop:dev"));
        let of = |instance: &Instance| Container {
            name: instance.node(),
            state: "running".into(),
            labels: instance.labels().to_vec(),
        };
        assert!(one.owns(&of(&one)) && link.owns(&of(&one)) && !one.owns(&of(&two)));
    }

    #[test]
    fn an_image_keeps_its_repository_and_gets_a_tag_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let instance = instance(Utf8Path::from_path(dir.path()).unwrap());
        let id = instance.id();
        for (reference, expected) in [
            ("localhost/shop:dev", format!("localhost/shop:dev-{id}")),
            ("localhost:5000/shop", format!("localhost:5000/shop:latest-{id}")),
            ("shop", format!("shop:latest-{id}")),
        ] {
            assert_eq!(instance.image(reference), expected);
        }
    }
}
