//! The types of kinds that custom resource definitions bring.

use serde_yaml::Value;

use super::types::Type;
use crate::plan::Object;
use crate::plan::object::{get, list};
use crate::suite::yaml::{Problem, Source};

/// A problem, once it is known where the object stands.
type Told<'a> = Box<dyn FnOnce(&Object, &Source) -> Problem + 'a>;

/// The type of a custom object; none where no definition is among `objects`, or it says nothing about the form.
///
/// # Errors
/// The definition has no such version, or does not serve it.
pub(super) fn of<'a>(objects: &'a [&'a Object], object: &'a Object) -> Result<Option<Type<'a>>, Told<'a>> {
    let (group, version) = object.api_version.rsplit_once('/').unwrap_or(("", &object.api_version));
    let is_it = |one: &&&Object| {
        one.reference.kind == "CustomResourceDefinition"
            && one.text(&["spec", "group"]) == Some(group)
            && one.text(&["spec", "names", "kind"]) == Some(&object.reference.kind)
    };
    let Some(definition) = objects.iter().find(is_it) else { return Ok(None) };
    let versions = list(&definition.value, &["spec", "versions"]);
    let name = |one: &'a Value| one.get("name").and_then(Value::as_str).unwrap_or_default();
    let is_served = |one: &&Value| one.get("served").and_then(Value::as_bool) != Some(false);
    match versions.iter().filter(is_served).find(|one| name(one) == version) {
        Some(found) => Ok(get(found, &["schema", "openAPIV3Schema"]).map(Type::CustomObject)),
        None if versions.is_empty() => Ok(None),
        None => {
            let served: Vec<&str> = versions.iter().filter(is_served).map(name).collect();
            let hint = match served.as_slice() {
                [] => "it serves no version".to_owned(),
                [one] => format!("write `apiVersion: {group}/{one}`"),
                all => format!("it serves {}", all.join(", ")),
            };
            let definition = definition.reference.clone();
            Err(Box::new(move |object, source| {
                let message = format!("{}: {definition} serves no version {version}", object.reference);
                object.problem(source, &["apiVersion"], message).hint(Some(hint))
            }))
        }
    }
}
