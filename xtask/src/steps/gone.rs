//! Images that somebody removes while a run works with them, as a prune does.

use anyhow::anyhow;
use e2e_support::engine::Engine;

use crate::setup::make::Workshop;

/// `error` of a step that works with images, with those in front that were there when the run began and are gone: what
/// the engine says then is about the registry that it looks for them in.
pub(super) fn because_of_images(engine: &Engine, workshop: &Workshop, error: anyhow::Error) -> anyhow::Error {
    engine.forget_images();
    let gone = workshop.images.iter().map(|image| image.reference.as_str());
    // An engine that does not answer says nothing of them.
    let gone: Vec<&str> = gone.filter(|image| matches!(engine.image_id(image), Ok(None))).collect();
    if gone.is_empty() {
        return error;
    }
    let cause = format!(
        "images that were there when the run began are gone: {}; something has removed them (a prune?), and the next run \
         puts them in place again",
        gone.join(", ")
    );
    below(&cause, &error)
}

/// An error that begins with its cause; what was seen of it follows, indented.
pub(crate) fn below(cause: &str, seen: &anyhow::Error) -> anyhow::Error {
    let seen: Vec<String> = format!("{seen:#}").lines().map(|line| format!("    {line}")).collect();
    anyhow!("{cause}\n{}", seen.join("\n"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use e2e_support::engine::Flavor;
    use testbed::fakes::{Fake, Play};

    use super::*;
    use crate::setup::catalog::Catalog;
    use crate::setup::digests::Seen;
    use crate::setup::host::Host;

    #[test]
    fn images_that_were_removed_meanwhile_are_named_first() {
        let dir = tempfile::tempdir().unwrap();
        let fake = Fake::new(dir.path()).unwrap();
        let seen = |name: &str| Seen { reference: name.to_owned(), digests: Vec::new(), before: None };
        for (flavor, missing) in [
            (Flavor::Podman, "Error: inspecting object: b:1: image not known"),
            (Flavor::Docker, "Error response from daemon: No such image: b:1"),
        ] {
            let engine = Engine::at(flavor, &fake.program(flavor.program()), &[]).unwrap();
            let workshop = Workshop {
                root: fake.dir().to_owned(),
                cache: fake.dir().to_owned(),
                host: Host::look(),
                catalog: Catalog::default(),
                keys: BTreeMap::new(),
                engine: None,
                images: vec![seen("a:1"), seen("b:1")],
            };
            let told =
                || format!("{:#}", because_of_images(&engine, &workshop, anyhow!("exit code 125: connection refused")));
            fake.on(flavor.program(), "image inspect *", Play::says(r#"[{"Id": "sha256:1"}]"#)).unwrap();
            assert_eq!(told(), "exit code 125: connection refused");
            fake.on(flavor.program(), "image inspect b:1", Play::fails(1, missing)).unwrap();
            let first = told().lines().next().unwrap().to_owned();
            assert!(first.starts_with("images that were there when the run began are gone: b:1; "), "{first}");
            assert!(told().contains("\n    exit code 125: connection refused"), "{}", told());
        }
    }
}
