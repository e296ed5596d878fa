//! The kinds of Kubernetes and the types of their fields, carried along as text.

#[cfg(test)]
mod generate;

use std::collections::HashMap;
use std::sync::LazyLock;

/// Written by `generate.rs`.
const TEXT: &str = include_str!("kinds.txt");
/// The types of kind's configuration, which no API server has.
const KIND: &str = include_str!("kind.txt");

/// A kind of Kubernetes itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// `apps/v1`.
    pub(crate) api_version: &'static str,
    /// `Deployment`.
    pub(crate) name: &'static str,
    /// As requests and roles name it: `deployments`.
    pub(crate) plural: &'static str,
    /// Whether its objects lie in namespaces.
    pub(crate) is_namespaced: bool,
    /// The name of its type.
    pub(crate) of: &'static str,
}

impl Kind {
    /// `apps`; nothing for the core group.
    pub(crate) fn group(&self) -> &'static str {
        self.api_version.rsplit_once('/').map_or("", |(group, _)| group)
    }
}

struct Known {
    kinds: Vec<Kind>,
    /// The fields of each type, as they are written.
    types: HashMap<&'static str, &'static str>,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let lines = || TEXT.lines().filter(|line| !line.starts_with('#'));
    let kinds = lines().take_while(|line| !line.is_empty()).filter_map(|line| {
        let mut words = line.split(' ');
        let mut next = || words.next();
        let (api_version, name, plural) = (next()?, next()?, next()?);
        Some(Kind { api_version, name, plural, is_namespaced: next()? == "namespaced", of: next()? })
    });
    let of_kind = KIND.lines().filter(|line| !line.starts_with('#'));
    let types = lines().skip_while(|line| !line.is_empty()).skip(1).chain(of_kind);
    let types = types.map(|line| line.split_once(' ').unwrap_or((line, "")));
    Known { kinds: kinds.collect(), types: types.collect() }
});

/// All kinds, in the order of their groups and versions.
pub(crate) fn kinds() -> &'static [Kind] {
    &KNOWN.kinds
}

/// The kind of this name in this group and version.
pub(crate) fn kind(api_version: &str, name: &str) -> Option<&'static Kind> {
    KNOWN.kinds.iter().find(|kind| kind.name == name && kind.api_version == api_version)
}

/// The kind of this name in the group, in this version or in another one.
pub(crate) fn kind_of_group(api_version: &str, name: &str) -> Option<&'static Kind> {
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    kind(api_version, name).or_else(|| kinds().iter().find(|kind| kind.name == name && kind.group() == group))
}

/// A resource as kubectl and roles of the suite name it: `pods`, `deployments.apps`.
pub(crate) fn resource(plural: &str, group: &str) -> String {
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}

/// Whether this is an API group of Kubernetes itself, or once was.
pub(crate) fn has_group(group: &str) -> bool {
    group == "extensions" || KNOWN.kinds.iter().any(|kind| kind.group() == group)
}

/// The minor version that this is: 34.
pub(crate) fn minor() -> Option<u32> {
    TEXT.split_whitespace().find_map(minor_of)
}

/// The minor version in `v1.34.3`.
pub(crate) fn minor_of(version: &str) -> Option<u32> {
    version.strip_prefix("v1.")?.split('.').next()?.parse().ok()
}

/// The fields of a type: name, whether it is required, type.
pub(crate) fn fields(name: &str) -> impl Iterator<Item = (&'static str, bool, &'static str)> {
    let line = KNOWN.types.get(name).copied().unwrap_or_default();
    line.split(' ').filter_map(|field| {
        let (name, of) = field.split_once(':')?;
        Some(name.strip_suffix('!').map_or((name, false, of), |name| (name, true, of)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_is_named_is_there() {
        assert!(kinds().len() > 50, "{}", kinds().len());
        let scalars = ["any", "base64", "bool", "int", "int-or-string", "number", "quantity", "string", "time"];
        let is_known = |of: &str| {
            let of = of.trim_start_matches("[]").trim_start_matches("{}").trim_start_matches("[]");
            scalars.contains(&of.split('=').next().unwrap()) || KNOWN.types.contains_key(of)
        };
        for kind in kinds() {
            assert!(is_known(kind.of), "{kind:?}");
        }
        for name in KNOWN.types.keys() {
            for (field, _, of) in fields(name) {
                let mut either = of.split('/').take(if of.contains('=') { 1 } else { 2 });
                assert!(either.all(is_known), "{name}.{field}: {of}");
            }
        }
        let pod = kind("v1", "Pod").unwrap();
        assert_eq!((pod.plural, pod.is_namespaced, pod.group()), ("pods", true, ""));
        assert!(fields("core.v1.Container").any(|field| field == ("name", true, "string")));
        assert!(
            fields("certificates.v1.CertificateSigningRequestSpec").any(|field| field == ("usages", false, "[]string"))
        );
        let policy = "string=Always|IfNotPresent|Never";
        assert!(fields("core.v1.Container").any(|field| field == ("imagePullPolicy", false, policy)));
    }

    #[test]
    fn it_is_of_the_version_that_the_nodes_run() {
        let setup = include_str!("../../../images/setup.yaml");
        let line = setup.lines().find_map(|line| line.trim().strip_prefix("kubernetes: v")).unwrap();
        let version = line.split(' ').next().unwrap();
        assert!(TEXT.lines().next().unwrap().contains(&format!("Kubernetes v{version} ")), "generate.rs says how");
        assert_eq!(minor(), minor_of(&format!("v{version}")));
    }
}
