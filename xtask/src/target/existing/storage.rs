//! Whether the cluster has storage for claims whose volumes the manifests bring themselves.

use anyhow::{Result, bail};
use e2e_support::kubectl::Kubectl;
use serde_json::Value;

/// The annotation of the class that claims get which name none.
const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

/// Fails where the class `named`, or a default one where none is named, is not there.
///
/// # Errors
/// In one line, with the classes that there are.
pub(super) fn must_have(kubectl: &Kubectl, context: &str, named: Option<&str>, claims: usize) -> Result<()> {
    if claims == 0 {
        return Ok(());
    }
    let classes = kubectl.json(&["get", "storageclasses"])?;
    match lack(&classes, named) {
        None => Ok(()),
        Some(lack) => bail!("the cluster of the context {context} has no storage for {claims} claim(s): {lack}"),
    }
}

fn lack(classes: &Value, named: Option<&str>) -> Option<String> {
    let all: Vec<&Value> = classes["items"].as_array().into_iter().flatten().collect();
    let name = |class: &Value| class["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let known = match all.is_empty() {
        true => "it has none".to_owned(),
        false => format!("there are {}", all.iter().map(|class| name(class)).collect::<Vec<_>>().join(", ")),
    };
    let is_default = |class: &&&Value| class["metadata"]["annotations"][DEFAULT] == "true";
    match named {
        Some(named) if all.iter().any(|class| name(class) == named) => None,
        Some(named) => Some(format!("no StorageClass {named}: {known}")),
        None if all.iter().find(is_default).is_some() => None,
        None => Some(format!("no default StorageClass; --storage-class names another one: {known}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_class_is_named_or_the_default() {
        let slow = json!({"metadata": {"name": "slow"}});
        let fast = json!({"metadata": {"name": "fast", "annotations": {DEFAULT: "true"}}});
        let both = json!({"items": [slow, fast]});
        assert_eq!((lack(&both, None), lack(&both, Some("slow"))), (None, None));
        assert_eq!(lack(&both, Some("x")).as_deref(), Some("no StorageClass x: there are slow, fast"));
        assert!(lack(&json!({"items": [slow]}), None).unwrap().contains("there are slow"));
        assert!(lack(&json!({"items": []}), None).unwrap().ends_with("it has none"));
    }
}
