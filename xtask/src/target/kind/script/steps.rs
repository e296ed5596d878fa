//! The same steps as a shell script commonly does them: images are built in containers and travel in archives, probes
//! have Kubernetes' default periods, and `kubectl wait` waits. Only here to be compared with.

use anyhow::{Context, Result, bail, ensure};
use camino::Utf8PathBuf;
use e2e_support::Job;
use serde_yaml::Value;
use xshell::Shell;

use crate::disk::write;
use crate::plan::object::{self, list, pod_spec_at};
use crate::plan::{ObjectRef, StepKind};
use crate::suite::yaml::{Problems, Source};
use crate::target::kind::Cluster;
use crate::target::kind::layout::CLUSTER;
use crate::target::kind::steps::ClusterStep;
use crate::target::session::Running;

/// What is left to the defaults of a probe.
const TIMES: [&str; 3] = ["periodSeconds", "failureThreshold", "initialDelaySeconds"];
const PROBES: [&str; 3] = ["startupProbe", "readinessProbe", "livenessProbe"];

/// Does one step as a script does it.
pub(in crate::target::kind) fn carry_out(cluster: &Cluster, running: &Running<'_>) -> Result<()> {
    let step = ScriptStep { cluster: ClusterStep { cluster, running }, running };
    match &running.step.kind {
        StepKind::Part { part, .. } if part == CLUSTER => step.create(),
        StepKind::Compile { packages } => running.compile(packages),
        StepKind::Image { image } => running.image(image),
        StepKind::Deliver { image } => step.load(image),
        StepKind::Apply { manifests, .. } => step.apply(manifests),
        StepKind::Ready { workload, .. } => step.ready(workload),
        StepKind::Specs => running.specs(),
        StepKind::Part { .. } | StepKind::Dependencies | StepKind::List => {
            bail!("a script has no step {}", running.step.id)
        }
    }
}

struct ScriptStep<'a> {
    cluster: ClusterStep<'a>,
    running: &'a Running<'a>,
}

impl ScriptStep<'_> {
    fn create(&self) -> Result<()> {
        ensure!(!self.cluster.cluster.was_there, "a script begins with a new cluster");
        self.cluster.create(self.running.session.instance.files.kubeconfig())?;
        self.kubectl_waits(&["wait", "--for=condition=Ready", "node", "--all"])?;
        self.cluster.remember_cluster()
    }

    fn load(&self, name: &str) -> Result<()> {
        let session = self.running.session;
        let image = session.suite.image(name).with_context(|| format!("the suite has no image {name}"))?;
        let archive = session.run_dir.join(format!("{name}.tar"));
        let doing = || format!("loading the image {} as an archive", image.reference);
        self.cluster
            .cluster
            .engine
            .save_archive(&image.reference, &archive, self.running.left(), self.running.log, self.running.cancel)
            .with_context(doing)?;
        let bytes = archive.metadata().with_context(|| format!("asking for the size of {archive}"))?.len();
        let cluster = session.instance.cluster();
        self.cluster
            .cluster
            .kind
            .load_archive(cluster, &archive, self.running.left(), self.running.log, self.running.cancel)
            .with_context(doing)?;
        self.running.context.add_bytes(bytes);
        std::fs::remove_file(&archive).with_context(|| format!("removing {archive}"))
    }

    fn apply(&self, group: &str) -> Result<()> {
        let session = self.running.session;
        let manifests = session.suite.group(group).with_context(|| format!("the suite has no manifests {group}"))?;
        let folder = session.run_dir.join("manifests");
        let mut files: Vec<Utf8PathBuf> = Vec::new();
        let mut definitions = Vec::new();
        for file in manifests.sources() {
            let source = session.manifests.sources.get(file).with_context(|| format!("{file} was not read"))?;
            let plain = with_default_probes(source)?;
            let objects = object::parse(&plain).map_err(Problems::from)?;
            let kinds = objects.iter().filter(|object| object.reference.kind == "CustomResourceDefinition");
            definitions.extend(kinds.map(|object| format!("crd/{}", object.reference.name)));
            let copy = folder.join(format!("{file}.yaml"));
            write(&copy, &plain.text)?;
            files.push(copy);
        }
        let sh = Shell::new()?;
        let mut apply = session.kubectl().cmd(&sh).arg("apply");
        for file in &files {
            apply = apply.arg("--filename").arg(file);
        }
        Job::new(apply).deadline(self.running.left()).log(self.running.log).cancel(self.running.cancel).run()?;
        if definitions.is_empty() {
            return Ok(());
        }
        let words = ["wait", "--for=condition=Established"].map(str::to_owned);
        let words: Vec<String> = words.into_iter().chain(definitions).collect();
        self.kubectl_waits(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn ready(&self, workload: &ObjectRef) -> Result<()> {
        let ObjectRef { kind, namespace, name } = workload;
        let object = format!("{}/{name}", kind.to_lowercase());
        let words = match kind.as_str() {
            "Deployment" => ["wait", "--for=condition=Available"].as_slice(),
            "Job" => &["wait", "--for=condition=Complete"],
            "Pod" => &["wait", "--for=condition=Ready"],
            "ReplicaSet" | "ReplicationController" => &["wait", "--for=jsonpath={.status.availableReplicas}"],
            // These have no condition to wait for.
            _ => &["rollout", "status"],
        };
        self.kubectl_waits(&[words, &["--namespace", namespace, &object]].concat())
    }

    fn kubectl_waits(&self, words: &[&str]) -> Result<()> {
        let sh = Shell::new()?;
        let timeout = format!("--timeout={:.0}s", self.running.step.deadline_s);
        let wait = self.running.session.kubectl().cmd(&sh).args(words).arg(timeout);
        Job::new(wait).deadline(self.running.left()).log(self.running.log).cancel(self.running.cancel).run()
    }
}

/// The manifest without startup probes and with the default periods of all others. Only lines are taken out: what YAML
/// says of the rest is none of our business.
fn with_default_probes(source: &Source) -> Result<Source> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut text = String::with_capacity(source.text.len());
    // The probe that the lines belong to: how far it is indented, and whether it goes as a whole.
    let mut probe: Option<(usize, bool)> = None;
    for line in source.text.lines() {
        let word = line.trim_start().split(':').next().unwrap_or_default();
        if probe.is_some_and(|(column, _)| !line.trim().is_empty() && indent(line) <= column) {
            probe = None;
        }
        if PROBES.contains(&word) {
            probe = Some((indent(line), word == PROBES[0]));
        }
        let goes = probe.is_some_and(|(_, whole)| whole || TIMES.contains(&word));
        if !goes {
            text.push_str(line);
            text.push('\n');
        }
    }
    let plain = Source::new(source.file.clone(), text);
    for object in object::parse(&plain).map_err(Problems::from)? {
        let Some((_, pod)) = pod_spec_at(&object) else { continue };
        for container in list(pod, &["containers"]) {
            let probe = |name: &str| container.get(name).unwrap_or(&Value::Null);
            let timed = PROBES.iter().any(|name| TIMES.iter().any(|time| probe(name).get(time).is_some()));
            let left = timed || container.get(PROBES[0]).is_some();
            ensure!(
                !left,
                "{}: the probes of {} cannot be set to their defaults: write each of their keys on a line of its own",
                source.file,
                object.reference
            );
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  containers:
    - name: c
      startupProbe:
        httpGet:
          path: /healthz
        periodSeconds: 1
      readinessProbe:
        httpGet:
          path: /readyz # octal: 0440
        periodSeconds: 1
        timeoutSeconds: 2
      periodSeconds: 3
      livenessProbe:
        periodSeconds: 20

        failureThreshold: 3
        exec: {command: [x]}
    - name: d
      image: 0440
";

    #[test]
    fn probes_get_their_defaults_and_the_rest_stays() {
        let plain = with_default_probes(&Source::new("m.yaml", POD)).unwrap().text;
        let gone = ["startupProbe", "/healthz", "periodSeconds: 1", "periodSeconds: 20", "failureThreshold"];
        for part in gone {
            assert!(!plain.contains(part), "{part} is left in\n{plain}");
        }
        for part in ["path: /readyz # octal: 0440", "timeoutSeconds: 2", "periodSeconds: 3", "exec:", "image: 0440"] {
            assert!(plain.contains(part), "{part} is gone from\n{plain}");
        }
    }

    #[test]
    fn a_probe_on_one_line_is_refused() {
        let text = POD
            .replace("      startupProbe:\n        httpGet:\n          path: /healthz\n        periodSeconds: 1\n", "")
            + "      readinessProbe: {periodSeconds: 1}\n";
        let error = with_default_probes(&Source::new("m.yaml", text)).unwrap_err().to_string();
        assert!(error.starts_with("m.yaml: the probes of Pod default/p"), "{error}");
    }
}
