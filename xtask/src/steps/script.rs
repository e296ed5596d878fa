//! The same steps as a shell script commonly does them: images are built in containers and travel in archives, probes
//! have Kubernetes' default periods, and `kubectl wait` waits. Only here to be compared with.

use anyhow::{Context, Result, bail, ensure};
use camino::Utf8PathBuf;
use e2e_support::Job;
use serde_yaml::Value;
use xshell::Shell;

use super::{Running, write};
use crate::plan::object::{self, list, pod_spec_at};
use crate::plan::{ObjectRef, StepKind};
use crate::suite::yaml::{Problems, Source};

/// What is left to the defaults of a probe.
const TIMES: [&str; 3] = ["periodSeconds", "failureThreshold", "initialDelaySeconds"];
const PROBES: [&str; 3] = ["startupProbe", "readinessProbe", "livenessProbe"];

impl Running<'_> {
    pub(super) fn as_a_script(&self) -> Result<()> {
        match &self.step.kind {
            StepKind::Cluster => self.script_cluster(),
            StepKind::Api => self.script_node(),
            StepKind::Compile { packages } => self.compile(packages),
            StepKind::Image { image } => self.image(image),
            StepKind::Load { image } => self.script_load(image),
            StepKind::Apply { manifests, .. } => self.script_apply(manifests),
            StepKind::Ready { workload, .. } => self.script_ready(workload),
            StepKind::Specs => self.specs(),
            StepKind::Node | StepKind::Dns | StepKind::Dependencies => {
                bail!("a script has no step {}", self.step.id)
            }
        }
    }

    fn script_cluster(&self) -> Result<()> {
        let site = self.site;
        ensure!(!site.cluster_is_there, "a script begins with a new cluster");
        self.create(site.instance.files.kubeconfig())
    }

    fn script_node(&self) -> Result<()> {
        self.kubectl_waits(&["wait", "--for=condition=Ready", "node", "--all"])?;
        self.remember_cluster()
    }

    fn script_load(&self, name: &str) -> Result<()> {
        let site = self.site;
        let image = site.suite.image(name).with_context(|| format!("the suite has no image {name}"))?;
        let archive = site.run_dir.join(format!("{name}.tar"));
        let doing = || format!("loading the image {} as an archive", image.reference);
        site.engine.save_archive(&image.reference, &archive, self.left(), self.log, self.cancel).with_context(doing)?;
        let bytes = archive.metadata().with_context(|| format!("asking for the size of {archive}"))?.len();
        let cluster = site.instance.cluster();
        site.kind.load_archive(cluster, &archive, self.left(), self.log, self.cancel).with_context(doing)?;
        self.context.add_bytes(bytes);
        std::fs::remove_file(&archive).with_context(|| format!("removing {archive}"))
    }

    fn script_apply(&self, group: &str) -> Result<()> {
        let site = self.site;
        let manifests = site.suite.group(group).with_context(|| format!("the suite has no manifests {group}"))?;
        let folder = site.run_dir.join("manifests");
        let mut files: Vec<Utf8PathBuf> = Vec::new();
        let mut definitions = Vec::new();
        for file in &manifests.files {
            let source = Source::read(&site.paths.root, file).map_err(Problems::from)?;
            let plain = with_default_probes(&source)?;
            let objects = object::parse(&plain).map_err(Problems::from)?;
            let kinds = objects.iter().filter(|object| object.reference.kind == "CustomResourceDefinition");
            definitions.extend(kinds.map(|object| format!("crd/{}", object.reference.name)));
            let copy = folder.join(file);
            write(&copy, &plain.text)?;
            files.push(copy);
        }
        let sh = Shell::new()?;
        let mut apply = site.kubectl().cmd(&sh).arg("apply");
        for file in &files {
            apply = apply.arg("--filename").arg(file);
        }
        Job::new(apply).deadline(self.left()).log(self.log).cancel(self.cancel).run()?;
        if definitions.is_empty() {
            return Ok(());
        }
        let words = ["wait", "--for=condition=Established"].map(str::to_owned);
        let words: Vec<String> = words.into_iter().chain(definitions).collect();
        self.kubectl_waits(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn script_ready(&self, workload: &ObjectRef) -> Result<()> {
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
        let timeout = format!("--timeout={:.0}s", self.step.deadline_s);
        let wait = self.site.kubectl().cmd(&sh).args(words).arg(timeout);
        Job::new(wait).deadline(self.left()).log(self.log).cancel(self.cancel).run()
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
