//! The text of manifests as it is applied: with a note on each object of who applied it, and with notes on all pods of
//! what they are made from, so that a changed image or configuration starts them anew, and an unchanged one does not.

use anyhow::{Context, Result, ensure};
use camino::Utf8Path;
use serde_yaml::{Mapping, Value};
use sha2::{Digest, Sha256};

use crate::hash::hex;
use crate::plan::object::{self, get, list, pod_spec_at};
use crate::plan::{Manifests, Object, configuration};
use crate::suite::yaml::{Problems, Segment, locate};

/// The annotation with the id of the instance that applied an object. (Of an object that says nothing but its name the
/// API server notes no manager.)
pub(super) const INSTANCE: &str = "gateway-e2e/instance";
/// The annotation with the ids of the images that were built here.
const IMAGES: &str = "gateway-e2e/images";
/// The annotation with the hash of the ConfigMaps and Secrets that the pod reads.
const CONFIGURATION: &str = "gateway-e2e/configuration";
/// What of a ConfigMap or Secret a pod sees.
const CONTENT: [&str; 4] = ["type", "data", "stringData", "binaryData"];

/// One annotation.
type Note = (&'static str, String);

/// The text of `file` with a note on each object that `instance` applied it, and with notes on all pods: which content their images are, where `image_id` knows it, and which the
/// ConfigMaps and Secrets that they read, where the suite's manifests bring these. All else stays as written.
///
/// Nothing renews a bare pod, nor those of a ReplicaSet without a Deployment: they are left as they are.
///
/// # Errors
/// When `image_id` fails, or a pod template is written in a way that nothing can be added to.
pub(super) fn render(
    manifests: &Manifests,
    file: &Utf8Path,
    instance: &str,
    image_id: impl Fn(&str) -> Result<Option<String>>,
    pod_image: impl Fn(&str) -> Result<Option<String>>,
) -> Result<String> {
    if manifests.is_rewritten {
        return values(manifests, file, instance, &image_id, &pod_image);
    }
    let source = manifests.sources.get(file).with_context(|| format!("{file} was not read"))?;
    let mut text = source.text.clone();
    let mut expected = Vec::new();
    for object in manifests.objects.get(file).into_iter().flatten() {
        let mut value = object.value.clone();
        let mark = [(INSTANCE, instance.to_owned())];
        annotate(&mut text, object, &[], &mark);
        annotate_value(&mut value, &[], &mark);
        let notes = notes(manifests, object, &image_id)?;
        if let (Some(([template @ .., _], _)), false) = (pod_spec_at(object), notes.is_empty()) {
            annotate(&mut text, object, template, &notes);
            annotate_value(&mut value, template, &notes);
        }
        expected.push((object, value));
    }
    // Whatever the text looks like, what it says now must be what was wanted, and nothing else.
    let new = object::parse(&crate::suite::yaml::Source::new(file, text.as_str())).unwrap_or_default();
    ensure!(new.len() == expected.len(), refused(manifests, expected.first().map(|(object, _)| *object)));
    for (new, (object, value)) in new.iter().zip(&expected) {
        ensure!(new.value == *value, refused(manifests, Some(object)));
    }
    Ok(text)
}

/// As [`render`], of objects that are others than the texts say: each as JSON, which has but one reading.
fn values(
    manifests: &Manifests,
    file: &Utf8Path,
    instance: &str,
    image_id: &impl Fn(&str) -> Result<Option<String>>,
    pod_image: &impl Fn(&str) -> Result<Option<String>>,
) -> Result<String> {
    let mut documents = Vec::new();
    let objects = manifests.objects.get(file).into_iter().flatten();
    for object in objects.filter(|object| !manifests.apart.contains(&object.reference)) {
        let mut value = object.value.clone();
        annotate_value(&mut value, &[], &[(INSTANCE, instance.to_owned())]);
        let notes = notes(manifests, object, image_id)?;
        if let Some((path, _)) = pod_spec_at(object) {
            if let ([template @ .., _], false) = (path, notes.is_empty()) {
                annotate_value(&mut value, template, &notes);
            }
            place_images(&mut value, path, pod_image)?;
        }
        documents.push(serde_json::to_string(&value).with_context(|| format!("writing {}", object.reference))?);
    }
    Ok(documents.join("\n---\n"))
}

/// Has the containers of the pods at `path` name their images as they are to be pulled.
fn place_images(value: &mut Value, path: &[&str], pod_image: &impl Fn(&str) -> Result<Option<String>>) -> Result<()> {
    let Some(pod) = path.iter().try_fold(value, |value, key| value.get_mut(key)) else { return Ok(()) };
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in pod.get_mut(list).and_then(Value::as_sequence_mut).into_iter().flatten() {
            let Some(map) = container.as_mapping_mut() else { continue };
            let placed = map.get("image").and_then(Value::as_str).map(pod_image).transpose()?.flatten();
            if let Some(image) = placed {
                map.insert("image".into(), image.into());
            }
            if map.get("imagePullPolicy").and_then(Value::as_str) == Some("Never") {
                map.insert("imagePullPolicy".into(), "IfNotPresent".into());
            }
        }
    }
    Ok(())
}

fn refused(manifests: &Manifests, object: Option<&Object>) -> anyhow::Error {
    let Some(object) = object else { return anyhow::anyhow!("a manifest without objects") };
    let keys = pod_spec_at(object).map_or(&["metadata"][..], |(path, _)| &path[..path.len() - 1]);
    let message = format!(
        "{} is written in a way that annotations cannot be added to it and to its pods: changes of it would not be \
         tested",
        object.reference
    );
    let hint = "write its `metadata` and `annotations` out as plain mappings: no alias, no anchor, no merge key";
    Problems::from(manifests.problem(object, keys, message).hint(Some(hint.to_owned()))).into()
}

/// What is to be noted on the pods of `object`.
fn notes(
    manifests: &Manifests,
    object: &Object,
    image_id: &impl Fn(&str) -> Result<Option<String>>,
) -> Result<Vec<Note>> {
    let mut notes = Vec::new();
    let Some((path, pod)) = pod_spec_at(object).filter(|(path, _)| path.len() > 1) else { return Ok(notes) };
    let mut ids = Vec::new();
    let containers = ["initContainers", "containers"].into_iter().flat_map(|key| list(pod, &[key]));
    for reference in containers.filter_map(|container| container.get("image")?.as_str()) {
        ids.extend(image_id(reference)?);
    }
    if !ids.is_empty() {
        notes.push((IMAGES, ids.join(" ")));
    }
    notes.extend(configuration_hash(manifests, object).map(|hash| (CONFIGURATION, hash)));
    // What a person has noted under these names stays.
    let there =
        get(&object.value, &path[..path.len() - 1]).and_then(|template| get(template, &["metadata", "annotations"]));
    notes.retain(|(key, _)| there.is_none_or(|there| there.get(key).is_none()));
    Ok(notes)
}

/// One hash for the content of all ConfigMaps and Secrets that the pods of `object` read; none where the manifests bring
/// none of these.
fn configuration_hash(manifests: &Manifests, object: &Object) -> Option<String> {
    let wanted = configuration(object);
    let mut brought: Vec<&Object> = manifests.all().filter(|object| wanted.contains(&object.reference)).collect();
    brought.sort_by(|a, b| a.reference.cmp(&b.reference));
    let mut hash = Sha256::new();
    // With its length, so that no two contents look alike.
    let mut add = |text: &str| hash.update(format!("{} {text}", text.len()));
    for object in &brought {
        add(&object.reference.to_string());
        for key in CONTENT {
            let Some(value) = object.value.get(key) else { continue };
            add(key);
            match value {
                Value::Mapping(entries) => {
                    let mut entries: Vec<(String, String)> =
                        entries.iter().map(|(key, value)| (scalar(key), scalar(value))).collect();
                    entries.sort();
                    add(&entries.len().to_string());
                    entries.iter().for_each(|(key, value)| {
                        add(key);
                        add(value);
                    });
                }
                value => add(&scalar(value)),
            }
        }
    }
    (!brought.is_empty()).then(|| hex(&hash.finalize()))
}

fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| serde_yaml::to_string(value).unwrap_or_default(), str::to_owned)
}

/// Adds annotations to the pod template at `template` of `object`, in its text: what YAML says of the rest (0440 is a
/// number to kubectl, and to others not) is none of our business. Where there is no place for them nothing changes.
fn annotate(text: &mut String, object: &Object, template: &[&str], notes: &[Note]) {
    let place = |below: &[&str]| {
        let path: Vec<Segment> = object.place(&[template, below].concat());
        byte_index(text, locate(text, object.document, &path)?)
    };
    // Quoted, so that it is JSON as well.
    let entries: Vec<String> = notes.iter().map(|(key, value)| format!("{key:?}: {value:?}")).collect();
    let annotations = || vec![format!("\"annotations\": {{{}}}", entries.join(", "))];
    let found = place(&["metadata", "annotations"])
        .map(|place| (place, entries.clone()))
        .or_else(|| Some((place(&["metadata"])?, annotations())))
        .or_else(|| Some((place(&[])?, vec![format!("\"metadata\": {{{}}}", annotations().join(", "))])));
    let Some(((at, column), entries)) = found else { return };
    match text[at..].strip_prefix('{') {
        Some(rest) => {
            let end = if rest.trim_start().starts_with('}') { "" } else { ", " };
            text.insert_str(at + 1, &format!("{}{end}", entries.join(", ")));
        }
        None => {
            let new_line = format!("\n{}", " ".repeat(column));
            text.insert_str(at, &format!("{}{new_line}", entries.join(&new_line)));
        }
    }
}

/// The byte of `text` that a place is, and how far it is indented: the parser counts characters.
fn byte_index(text: &str, place: serde_yaml::Location) -> Option<(usize, usize)> {
    let begin: usize = text.split_inclusive('\n').take(place.line().checked_sub(1)?).map(str::len).sum();
    let column = place.column().checked_sub(1)?;
    let line = text.get(begin..)?;
    let within = line.char_indices().nth(column).map_or(line.len(), |(at, _)| at);
    Some((begin + within, column))
}

/// The same as [`annotate`], of the value that the text stands for.
fn annotate_value(value: &mut Value, template: &[&str], notes: &[Note]) {
    let mut at = value;
    for key in template.iter().copied().chain(["metadata", "annotations"]) {
        let Some(map) = at.as_mapping_mut() else { return };
        at = map.entry(key.into()).or_insert_with(|| Value::Mapping(Mapping::new()));
    }
    if let Some(map) = at.as_mapping_mut() {
        map.extend(notes.iter().map(|(key, value)| ((*key).into(), value.as_str().into())));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::suite::yaml::Source;

    fn manifests(files: &[(&str, &str)]) -> Manifests {
        let sources = files.iter().map(|(file, text)| ((*file).into(), Source::new(*file, *text)));
        Manifests::new(sources.collect()).unwrap()
    }

    fn rendered(manifests: &Manifests, file: &str) -> Result<String> {
        let id = |reference: &str| Ok((reference == "built").then(|| "sha256:1".to_owned()));
        render(manifests, file.into(), "id", id, |reference| Ok(Some(format!("registry/{reference}"))))
    }

    /// The annotations of each pod template in a text.
    fn annotations(text: &str) -> Vec<BTreeMap<String, String>> {
        let objects = object::parse(&Source::new("new.yaml", text)).unwrap();
        let of = |object: &Object| {
            let (path, _) = pod_spec_at(object)?;
            let template = get(&object.value, &path[..path.len() - 1])?;
            serde_yaml::from_value(get(template, &["metadata", "annotations"])?.clone()).ok()
        };
        objects.iter().map(|object| of(object).unwrap_or_default()).collect()
    }

    const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: n}\n";

    #[test]
    fn an_annotation_is_added_and_the_rest_of_the_text_stays() {
        let templates = [
            "spec:\n  template:\n    metadata:\n      labels: {a: b}\n    spec:\n      mode: 0440 # octal\n      containers: [{image: built}]\n",
            "# Größe – none\nspec:\n  template:\n    metadata:\n      annotations:\n        old: x\n    spec: {containers: [{image: built}]}\n",
            "spec: {template: {metadata: {annotations: {}}, spec: {containers: [{image: built}]}}}\n",
            "spec:\n  template:\n    spec: {containers: [{image: built}]}\n",
            "{\"apiVersion\": \"apps/v1\", \"kind\": \"Deployment\", \"metadata\": {\"name\": \"j\"},\n \
             \"spec\": {\"template\": {\"spec\": {\"containers\": [{\"image\": \"built\"}]}}}}\n",
            "apiVersion: v1\nkind: List\nitems:\n  - apiVersion: apps/v1\n    kind: DaemonSet\n    metadata: {name: a}\n    \
             spec:\n      template:\n        spec: {containers: [{image: built}]}\n  - apiVersion: batch/v1\n    kind: Job\n    \
             metadata: {name: b}\n    spec: {template: {metadata: {}, spec: {initContainers: [{image: built}]}}}\n",
        ];
        let mut text = String::new();
        for (at, template) in templates.iter().enumerate() {
            let head = if template.contains("apiVersion") { "" } else { DEPLOYMENT };
            text.push_str(&format!("---\n{}{template}", head.replace("web", &format!("web{at}"))));
        }
        let new = rendered(&manifests(&[("m.yaml", &text)]), "m.yaml").unwrap();
        let found = annotations(&new);
        assert_eq!(found.len(), 7);
        for annotations in &found {
            assert_eq!(annotations[IMAGES], "sha256:1", "{new}");
        }
        assert_eq!(found[1]["old"], "x");
        assert!(new.contains("mode: 0440 # octal"), "{new}");
        // A document in JSON stays JSON.
        let json = new.split("---\n").find(|document| document.starts_with('{')).unwrap();
        serde_json::from_str::<serde_json::Value>(json).unwrap();
    }

    #[test]
    fn what_cannot_be_annotated_is_an_error_with_its_line() {
        let alias = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: one}
template: &t
  metadata: {labels: {a: b}}
  spec: {containers: [{image: built}]}
spec:
  template: *t
";
        let merged = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: one}
base: &base
  metadata: {labels: {a: b}}
spec:
  template:
    <<: *base
    spec: {containers: [{image: built}]}
";
        for (text, line) in [(alias, "m.yaml:"), (merged, "m.yaml:")] {
            let error = rendered(&manifests(&[("m.yaml", text)]), "m.yaml").unwrap_err().to_string();
            assert!(error.starts_with(line) && error.contains("Deployment default/one"), "{error}");
        }
    }

    #[test]
    fn what_a_workload_reads_is_in_its_template_wherever_it_is_written() {
        let map = |value: &str| {
            format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: map, namespace: n}}\ndata: {{b: '2', a: {value}}}\n"
            )
        };
        let secret = |value: &str| {
            format!(
                "apiVersion: v1\nkind: Secret\nmetadata: {{name: key, namespace: n}}\nimmutable: true\nstringData: {{k: {value}}}\n"
            )
        };
        let web = format!(
            "{DEPLOYMENT}spec: {{template: {{spec: {{volumes: [{{configMap: {{name: map}}}}, {{configMap: {{name: foreign}}}}], \
             containers: [{{image: i, envFrom: [{{secretRef: {{name: key}}}}]}}]}}}}}}\n"
        );
        let bare = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: n}\nspec: {volumes: [{configMap: {name: map}}]}\n";
        let noted = |map: &str, secret: &str| {
            let files = [("map.yaml", map), ("key.yaml", secret), ("web.yaml", &web), ("bare.yaml", bare)];
            let manifests = manifests(&files);
            let new = rendered(&manifests, "bare.yaml").unwrap();
            assert!(!new.contains(CONFIGURATION) && new.contains(INSTANCE), "nothing renews it: {new}");
            annotations(&rendered(&manifests, "web.yaml").unwrap())[0][CONFIGURATION].clone()
        };
        let first = noted(&map("one"), &secret("s"));
        assert_eq!(first, noted(&map("one").replace("{b: '2', a: one}", "{a: one, b: '2'} # the same"), &secret("s")));
        let others = [noted(&map("two"), &secret("s")), noted(&map("one"), &secret("t"))];
        assert!(!others.contains(&first) && others[0] != others[1], "{first} {others:?}");
        assert!(!first.contains("one") && first.len() == 64);

        let alone = manifests(&[("web.yaml", &web)]);
        let new = rendered(&alone, "web.yaml").unwrap();
        assert!(!new.contains(CONFIGURATION), "what others bring is not known: {new}");
    }
}
