//! From a suite's name to a session on a cluster that is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::Cancel;
use e2e_support::clock::Instant;
use e2e_support::kubectl::Kubectl;

use super::options::{Options, Registry};
use super::reach::Ways;
use super::record::{self, Record};
use super::remove::remove;
use super::rewrite::{self, Rewritten, rewrite};
use super::shared::{self, Sharing};
use super::there::There;
use super::{context, rights, storage};
use crate::build_mode::Building;
use crate::dockerfile::bases;
use crate::instance::Instance;
use crate::kubernetes;
use crate::paths::Paths;
use crate::plan::object::{list, pod_spec_at};
use crate::plan::{BuildMode, Manifests};
use crate::provision::{self, Request};
use crate::setup::catalog::Catalog;
use crate::setup::make::Workshop;
use crate::setup::survey::Wanted;
use crate::suite::Suite;
use crate::target::session::{Earlier, Session};

/// How long it may take to look at what runs share.
const LOOK: std::time::Duration = std::time::Duration::from_secs(60);

/// Sets the machine up if need be, looks whether the context `name` is fit for a run, and makes ready what the steps of
/// `suite` work with. On the cluster nothing is made yet; what an earlier run has left there is removed, and `say` is told
/// so. The caller holds the instance's lock.
///
/// # Errors
/// When the machine cannot be set up, or the cluster is not fit: in one line.
#[expect(clippy::too_many_arguments, reason = "each is one thing that a command knows, and none goes with another")]
pub fn open(
    paths: &Paths,
    suite: Suite,
    request: &Request,
    name: &str,
    earlier: Earlier,
    run_dir: Utf8PathBuf,
    cancel: &Cancel,
    say: &mut dyn FnMut(&str),
) -> Result<Session> {
    let registry = request.elsewhere.registry()?;
    let mut instance = Instance::of(paths, &suite)?;
    instance.files = instance.files.on_cluster_that_is_there();
    let (workshop, building) = set_up(paths, &suite, request, cancel)?;
    // Until it is plain that the cluster is used, what an earlier run has left keeps its own.
    let kubeconfig = instance.files.dir.with_file_name("context.new");
    let opening = Opening { paths, request, registry, name, earlier, run_dir, cancel, kubeconfig: kubeconfig.clone() };
    opening.open(suite, instance, (workshop, building), say).inspect_err(|_| {
        // It has credentials. Where it is gone already, all is well.
        let _ = std::fs::remove_file(kubeconfig);
    })
}

/// What a command says of a run that it begins.
struct Opening<'a> {
    paths: &'a Paths,
    request: &'a Request,
    registry: Registry,
    /// The context.
    name: &'a str,
    earlier: Earlier,
    run_dir: Utf8PathBuf,
    cancel: &'a Cancel,
    /// Where the context is copied to.
    kubeconfig: Utf8PathBuf,
}

impl Opening<'_> {
    fn open(
        self,
        suite: Suite,
        instance: Instance,
        (workshop, building): (Workshop, Building),
        say: &mut dyn FnMut(&str),
    ) -> Result<Session> {
        let Opening { paths, request, registry, name, earlier, run_dir, cancel, kubeconfig: new } = self;
        registry.must_answer()?;
        // Now that what renders them is there.
        let manifests = Manifests::read(&paths.root, &suite)?;
        let program = workshop.folder("kubectl")?.join("bin/kubectl");
        let server = context::copy(&program, name, &new)?;
        let kubectl = Kubectl::new(&program, &new, name);
        context::must_fit(&kubectl, name, &server)?;
        let options = &request.elsewhere;
        let made_from = There::hash(&[
            &server,
            &registry.in_cluster,
            &format!("{:?}", options.reach),
            options.storage_class.as_deref().unwrap_or_default(),
        ]);
        let before = Record::read(&instance.files.dir);
        let kept = before
            .filter(|record| earlier == Earlier::Reuse && record.context == name && record.made_from == made_from);
        if kept.is_none()
            && let Some(removed) = remove_left(&instance, &program)?
        {
            say(&format!("removed what an earlier run has left: {removed}"));
        }
        let was_there = kept.is_some();
        let id = kept.as_ref().map_or_else(record::new_id, |record| record.id.clone());
        let labels = record::labels(&instance, &id);
        let wanted = rewrite::Wanted {
            id: &id,
            labels: &labels,
            reach: options.reach,
            storage_class: options.storage_class.as_deref(),
        };
        let rewritten = rewrite(&manifests, &wanted)?;
        for line in &rewritten.left_out {
            say(&format!("not applied: {line}"));
        }
        rights::needed(&suite, &rewritten, options.reach).must_have(&kubectl, name, cancel)?;
        storage::must_have(&kubectl, name, options.storage_class.as_deref(), rewritten.claims)?;
        let mut record = Record {
            context: name.to_owned(),
            server,
            made_from,
            namespaces: rewritten.namespaces.values().cloned().collect(),
            kinds: cluster_wide(&rewritten),
            shared: rewritten.shared.iter().map(shared::noted).collect::<Result<_>>()?,
            id,
        };
        if let Some(before) = kept {
            record.add(before);
        }
        let namespace = record.namespaces.first().cloned().unwrap_or_default();
        let log = run_dir.join("open.log");
        let end = Instant::now() + LOOK;
        let sharing = Sharing { kubectl: &kubectl, id: &record.id, namespace: &namespace, end, log: &log, cancel };
        let conflicts = sharing.conflicts(&rewritten.shared)?;
        if !conflicts.is_empty() {
            bail!("{}", conflicts.join("\n"));
        }
        let stock = stock(&suite, &rewritten.manifests, &workshop)?;
        let ways = Ways::open(rewritten.reached.clone(), &run_dir)?;
        // From here on something may be made.
        std::fs::create_dir_all(&instance.files.dir)
            .with_context(|| format!("making the folder {}", instance.files.dir))?;
        std::fs::rename(&new, instance.files.kubeconfig()).context("putting the copy of the context in its place")?;
        record.write(&instance.files.dir)?;
        let there = There {
            reach: options.reach,
            namespaces: rewritten.namespaces.into_values().collect(),
            built: suite
                .images
                .iter()
                .map(|image| (image.reference.clone(), registry.name(&image.reference)))
                .collect(),
            stock,
            pushed: Mutex::default(),
            shared: rewritten.shared,
            ports: ways.ports(),
            ways,
            was_there,
            labels,
            registry,
            record,
        };
        let building = (workshop, building);
        Session::with_manifests(paths, suite, rewritten.manifests, building, instance, run_dir, Arc::new(there))
    }
}

/// Sets the machine up for that.
///
/// # Errors
/// As [`provision::set_up`].
pub fn set_up(paths: &Paths, suite: &Suite, request: &Request, cancel: &Cancel) -> Result<(Workshop, Building)> {
    provision::set_up(paths, suite, request, |mode| wanted(paths, suite, mode, request), cancel)
}

/// What a run of `suite` on a cluster that is there needs of the machine: no kind, and no node.
///
/// # Errors
/// When the catalog, a Dockerfile or a manifest of the suite cannot be read.
pub fn wanted(paths: &Paths, suite: &Suite, build: BuildMode, request: &Request) -> Result<Wanted> {
    let kubernetes = request.kubernetes.clone();
    let catalog = Catalog::read_for(&paths.root, kubernetes.as_deref())?;
    let mut pieces = BTreeSet::from(["kubectl".to_owned()]);
    let mut references = BTreeSet::new();
    for image in &suite.images {
        references.extend(bases(&paths.root, image, build)?);
    }
    // What cannot be rendered before kubectl is there is looked at again when it is.
    let manifests = Manifests::new(crate::plan::read_manifests(&paths.root, suite)?)?;
    references.extend(images(&manifests));
    pieces.extend(
        references.iter().filter_map(|reference| catalog.stand_in_for(reference)).map(|piece| piece.name.clone()),
    );
    Ok(Wanted { engine: request.engine, any_engine: true, pieces, packages: BTreeMap::new(), kubernetes })
}

/// The images that manifests name.
fn images(manifests: &Manifests) -> BTreeSet<String> {
    let pods = manifests.all().filter_map(pod_spec_at);
    let containers =
        pods.flat_map(|(_, pod)| ["initContainers", "containers"].into_iter().flat_map(|key| list(pod, &[key])));
    containers.filter_map(|container| Some(container.get("image")?.as_str()?.to_owned())).collect()
}

/// Those that are not built and that the engine has: nodes are to pull all from one place.
fn stock(suite: &Suite, manifests: &Manifests, workshop: &Workshop) -> Result<BTreeSet<String>> {
    let engine = workshop.engine()?;
    let is_built = |reference: &String| suite.images.iter().any(|image| image.reference == *reference);
    let mut stock = BTreeSet::new();
    for reference in images(manifests).into_iter().filter(|reference| !is_built(reference)) {
        if engine.image(&reference)?.is_some() {
            stock.insert(reference);
        }
    }
    Ok(stock)
}

/// The kinds of the cluster-wide objects that are the run's alone, as kubectl names them.
fn cluster_wide(rewritten: &Rewritten) -> Vec<String> {
    let manifests = &rewritten.manifests;
    let own = manifests.all().filter(|object| {
        object.reference.namespace.is_empty()
            && object.reference.kind != "Namespace"
            && !manifests.apart.contains(&object.reference)
    });
    let name = |object: &crate::plan::Object| {
        let kind = &object.reference.kind;
        let plural = kubernetes::kind_of_group(&object.api_version, kind).map(|kind| kind.plural.to_owned());
        kubernetes::resource(&plural.unwrap_or_else(|| kind.to_lowercase()), object.api_group())
    };
    own.map(name).collect::<BTreeSet<String>>().into_iter().collect()
}

/// The rights that a run of `suite` needs on the cluster, one a line; `ID` stands for what is the run's own.
///
/// # Errors
/// When the manifests cannot be read, or what they have cannot be one run's alone.
pub fn rights_of(paths: &Paths, suite: &Suite, options: &Options) -> Result<Vec<String>> {
    let manifests = Manifests::new(crate::plan::read_manifests(&paths.root, suite)?)?;
    let wanted = rewrite::Wanted {
        id: "ID",
        labels: &BTreeMap::new(),
        reach: options.reach,
        storage_class: options.storage_class.as_deref(),
    };
    Ok(rights::needed(suite, &rewrite(&manifests, &wanted)?, options.reach).lines())
}

/// Whether an instance has left something on a cluster on purpose.
pub fn is_kept(instance: &Instance) -> bool {
    instance.files.on_cluster_that_is_there().is_kept()
}

/// Removes what an instance has left on a cluster; returns what that was, and none where there is nothing.
///
/// # Errors
/// When the cluster does not answer, or something stays.
pub fn remove_left(instance: &Instance, kubectl: &Utf8Path) -> Result<Option<String>> {
    let files = instance.files.on_cluster_that_is_there();
    let Some(record) = Record::read(&files.dir) else { return Ok(None) };
    let kubectl = Kubectl::new(kubectl, files.kubeconfig(), &record.context);
    let log = files.dir.join("delete.log");
    remove(&kubectl, &record, &log)
        .with_context(|| {
        let (place, dir) = (record.place(), &files.dir);
        format!("removing {place}, which an earlier run has left (if that cluster is gone for good, remove the folder {dir})")
    })?;
    files.remove()?;
    Ok(Some(record.place()))
}
