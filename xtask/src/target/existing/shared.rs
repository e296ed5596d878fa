//! Objects of the whole cluster that all runs use alike: applied once, with a note of who uses them, and removed by the
//! last of these. What was there before anybody of us stays as it is.
//!
//! Every change is a compare-and-swap on the object's resourceVersion: runs may come and go at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use camino::Utf8Path;
use e2e_support::clock::Instant;
use e2e_support::kubectl::{Kubectl, MANAGER};
use e2e_support::{Cancel, Job};
use serde_json::{Value, json};
use xshell::Shell;

use super::record::{SharedObject, namespaces_of};
use super::rewrite::RUN_LABEL;
use crate::plan::Object;
use crate::steps::holds;

/// The label of what was made by us, for all runs.
pub(super) const SHARED_LABEL: &str = "gateway-e2e.shared";
/// The annotation with its users: the id of each run, and a namespace that is there as long as the run is.
const USERS: &str = "gateway-e2e.users";
/// Between two tries, where another run was quicker.
const PAUSE: Duration = Duration::from_millis(200);
/// So many tries: each that fails means that another run has succeeded.
const TRIES: u32 = 100;
/// What of an object says nothing of what it does.
const OF_NO_MATTER: [&str; 4] = ["apiVersion", "kind", "metadata", "status"];

/// One run, as it deals with what it shares with others.
pub(super) struct Sharing<'a> {
    pub(super) kubectl: &'a Kubectl,
    /// The run's id.
    pub(super) id: &'a str,
    /// A namespace of the run.
    pub(super) namespace: &'a str,
    pub(super) end: Instant,
    pub(super) log: &'a Utf8Path,
    pub(super) cancel: &'a Cancel,
}

/// What of an object there is.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// It is going, and can be made once it has gone.
    Going,
    /// Ours, with these users; and whether it is as it is wanted.
    Ours(BTreeMap<String, String>, bool),
    /// Somebody else's; and whether it is as it is wanted.
    Foreign(bool),
}

fn state(there: &Value, wanted: &Value) -> State {
    if there["metadata"]["deletionTimestamp"].is_string() {
        return State::Going;
    }
    let fits = wanted.as_object().into_iter().flatten().all(|(key, wanted)| {
        OF_NO_MATTER.contains(&key.as_str()) || there.get(key).is_some_and(|there| holds(there, wanted))
    });
    match there["metadata"]["labels"][SHARED_LABEL].is_string() {
        true => State::Ours(users(there), fits),
        false => State::Foreign(fits),
    }
}

fn users(there: &Value) -> BTreeMap<String, String> {
    let text = there["metadata"]["annotations"][USERS].as_str().unwrap_or_default();
    text.split_whitespace()
        .filter_map(|user| user.split_once('='))
        .map(|(id, namespace)| (id.to_owned(), namespace.to_owned()))
        .collect()
}

fn written(users: &BTreeMap<String, String>) -> String {
    users.iter().map(|(id, namespace)| format!("{id}={namespace}")).collect::<Vec<_>>().join(" ")
}

/// What `object` is noted as.
pub(super) fn noted(object: &Object) -> Result<SharedObject> {
    let kind = crate::kubernetes::kind_of_group(&object.api_version, &object.reference.kind);
    let kind = kind.with_context(|| format!("{} is of a kind that Kubernetes does not have", object.reference))?;
    Ok(SharedObject {
        plural: kind.plural.to_owned(),
        api_version: object.api_version.clone(),
        name: object.reference.name.clone(),
    })
}

impl Sharing<'_> {
    /// Why `objects` cannot be shared: those that are there and differ, while others use them or nobody of us has made them.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub(super) fn conflicts(&self, objects: &[Object]) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for object in objects {
            let wanted = serde_json::to_value(&object.value)?;
            let Some(there) = self.find(&wanted)? else { continue };
            found.extend(self.conflict(object, &state(&there, &wanted))?);
        }
        Ok(found)
    }

    fn conflict(&self, object: &Object, state: &State) -> Result<Option<String>> {
        let reference = &object.reference;
        Ok(match state {
            State::Foreign(false) => Some(format!(
                "{reference} is on the cluster, differs from the manifests' ({}), and was not made by a run: it stays as \
                 it is; delete it, or use a cluster without it",
                object.file
            )),
            State::Ours(users, false) => {
                let others = self.others(users)?;
                (!others.is_empty()).then(|| {
                    let others: Vec<&str> = others.values().map(String::as_str).collect();
                    format!(
                        "{reference} is on the cluster as other runs have it, and differs from the manifests' ({}): wait \
                         until they have ended (namespaces {})",
                        object.file,
                        others.join(", ")
                    )
                })
            }
            _ => None,
        })
    }

    /// Sees to it that `object` is there, as it is wanted, and notes this run as a user of it, unless it is somebody
    /// else's.
    ///
    /// # Errors
    /// As [`Sharing::conflicts`], or when the API server refuses it.
    pub(super) fn take(&self, object: &Object) -> Result<()> {
        let doing = || format!("sharing {} with other runs", object.reference);
        let wanted = serde_json::to_value(&object.value)?;
        let of = noted(object)?;
        self.until_settled(|| {
            let Some(there) = self.find(&wanted)? else { return self.create(&wanted) };
            let state = state(&there, &wanted);
            if let Some(why) = self.conflict(object, &state)? {
                bail!(why);
            }
            match state {
                State::Going => Ok(false),
                State::Foreign(_) => Ok(true),
                State::Ours(users, true) if users.contains_key(self.id) => Ok(true),
                State::Ours(mut users, true) => {
                    users.insert(self.id.to_owned(), self.namespace.to_owned());
                    self.note(&of, &there, &users)
                }
                State::Ours(..) => self.replace(&wanted, &there),
            }
        })
        .with_context(doing)
    }

    /// Takes this run from the users of an object, and removes it where it was the last and we have made it.
    ///
    /// # Errors
    /// When the API server does not answer, or refuses.
    pub(super) fn release(&self, of: &SharedObject) -> Result<()> {
        let doing = || format!("giving up {} {}", of.resource(), of.name);
        let identity = json!({"apiVersion": of.api_version, "kind": kind_of(of)?, "metadata": {"name": of.name}});
        let mut is_doomed = false;
        self.until_settled(|| {
            let Some(there) = self.find(&identity)? else { return Ok(true) };
            match state(&there, &Value::Null) {
                // Waited for only where it goes because of us.
                State::Going => Ok(!is_doomed),
                State::Foreign(_) => Ok(true),
                State::Ours(users, _) if !users.contains_key(self.id) && !users.is_empty() => Ok(true),
                State::Ours(users, _) => {
                    let others = self.others(&users)?;
                    if !others.is_empty() {
                        return self.note(of, &there, &others);
                    }
                    is_doomed = true;
                    self.delete(of, &there)?;
                    Ok(false)
                }
            }
        })
        .with_context(doing)
    }

    /// Those of `users` that are other runs, and still there.
    fn others(&self, users: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
        if users.keys().all(|id| id == self.id) {
            return Ok(BTreeMap::new());
        }
        let alive = self.kubectl.read(&namespaces_of(RUN_LABEL))?;
        let alive: BTreeSet<&str> = alive.split_whitespace().collect();
        let is_other = |(id, namespace): &(&String, &String)| *id != self.id && alive.contains(namespace.as_str());
        Ok(users.iter().filter(is_other).map(|(id, namespace)| (id.clone(), namespace.clone())).collect())
    }

    /// Tries until `attempt` is settled.
    fn until_settled(&self, mut attempt: impl FnMut() -> Result<bool>) -> Result<()> {
        for _ in 0..TRIES {
            if attempt()? {
                return Ok(());
            }
            if self.cancel.sleep(PAUSE) || Instant::now() >= self.end {
                break;
            }
        }
        Err(anyhow!("it is still being changed by others, or going; the next run tries again"))
    }

    fn find(&self, identity: &Value) -> Result<Option<Value>> {
        Ok(self.kubectl.find(&identity.to_string(), self.left(), self.cancel)?.pop())
    }

    fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    fn create(&self, wanted: &Value) -> Result<bool> {
        let users = [(self.id.to_owned(), self.namespace.to_owned())].into();
        self.attempt(&["create", "--field-manager", MANAGER, "--filename", "-"], Some(ours(wanted, &users)))
    }

    fn replace(&self, wanted: &Value, there: &Value) -> Result<bool> {
        let users = [(self.id.to_owned(), self.namespace.to_owned())].into();
        let mut new = ours(wanted, &users);
        new["metadata"]["resourceVersion"] = there["metadata"]["resourceVersion"].clone();
        self.attempt(&["replace", "--field-manager", MANAGER, "--filename", "-"], Some(new))
    }

    fn note(&self, of: &SharedObject, there: &Value, users: &BTreeMap<String, String>) -> Result<bool> {
        let annotation = format!("{USERS}={}", written(users));
        let version = format!("--resource-version={}", text(&there["metadata"]["resourceVersion"]));
        self.attempt(&["annotate", "--overwrite", &version, &of.resource(), &of.name, &annotation], None)
    }

    /// Deletes it if it is still as it was seen.
    fn delete(&self, of: &SharedObject, there: &Value) -> Result<bool> {
        let metadata = &there["metadata"];
        let preconditions = json!({"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]});
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions});
        self.attempt(&["delete", "--raw", &of.path(), "--filename", "-"], Some(options))
    }

    /// Whether it was done; false where another run was quicker.
    fn attempt(&self, words: &[&str], input: Option<Value>) -> Result<bool> {
        let sh = Shell::new()?;
        let job = Job::new(self.kubectl.cmd(&sh).args(words)).deadline(self.left()).log(self.log).cancel(self.cancel);
        let job = match input {
            Some(input) => job.stdin(input.to_string()),
            None => job,
        };
        match job.run() {
            Ok(()) => Ok(true),
            Err(error) if is_quicker(&format!("{error:#}")) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Whether an API server refused because the object has been made, changed or deleted meanwhile.
fn is_quicker(said: &str) -> bool {
    ["(AlreadyExists)", "(Conflict)", "(NotFound)", "the object has been modified"]
        .iter()
        .any(|word| said.contains(word))
}

/// The object with our marks.
fn ours(wanted: &Value, users: &BTreeMap<String, String>) -> Value {
    let mut new = wanted.clone();
    new["metadata"]["labels"][SHARED_LABEL] = "true".into();
    new["metadata"]["annotations"][USERS] = written(users).into();
    new
}

fn kind_of(of: &SharedObject) -> Result<&'static str> {
    let is_it = |kind: &&crate::kubernetes::Kind| kind.plural == of.plural && kind.api_version == of.api_version;
    let kind = crate::kubernetes::kinds().iter().find(is_it);
    kind.map(|kind| kind.name).with_context(|| format!("no kind of Kubernetes is called {}", of.resource()))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_ours_or_not_and_fits_or_not() {
        let wanted = json!({"apiVersion": "a", "kind": "ClusterRole", "metadata": {"name": "r", "labels": {"x": "y"}},
            "rules": [{"verbs": ["get"]}]});
        let foreign = json!({"metadata": {"name": "r"}, "rules": [{"verbs": ["get"]}]});
        assert_eq!(state(&foreign, &wanted), State::Foreign(true));
        let other = json!({"metadata": {"name": "r"}, "rules": [{"verbs": ["get", "list"]}]});
        assert_eq!(state(&other, &wanted), State::Foreign(false));
        // The API server writes whole numbers without their zeros.
        let (written, read) = (json!({"spec": {"minimum": 1.0}}), json!({"spec": {"minimum": 1}}));
        assert_eq!(state(&read, &written), State::Foreign(true));
        assert_eq!(state(&json!({"spec": {"minimum": 2}}), &written), State::Foreign(false));
        let users: BTreeMap<String, String> = [("1".into(), "n-1".into()), ("2".into(), "n-2".into())].into();
        let made = ours(&wanted, &users);
        assert_eq!(state(&made, &wanted), State::Ours(users, true));
        assert_eq!(made["metadata"]["labels"]["x"], "y");
        let mut going = made;
        going["metadata"]["deletionTimestamp"] = "2026".into();
        assert_eq!(state(&going, &wanted), State::Going);
    }

    #[test]
    fn a_quicker_run_is_no_error() {
        for said in [
            "Error from server (AlreadyExists): customresourcedefinitions \"x\" already exists",
            "Error from server (Conflict): Operation cannot be fulfilled on clusterroles \"x\": the object has been modified",
        ] {
            assert!(is_quicker(said));
        }
        assert!(!is_quicker("Error from server (Forbidden): clusterroles is forbidden"));
    }
}
