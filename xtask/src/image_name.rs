//! Names of images: which ones mean the same.
//! <https://github.com/distribution/reference/blob/main/reference.go>

/// The whole reference that a short one stands for: with registry, folder and tag.
pub fn full(reference: &str) -> String {
    let (name, digest) = reference.split_once('@').map_or((reference, None), |(name, digest)| (name, Some(digest)));
    let (path, tag) = split_tag(name);
    let (registry, rest) = match path.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
        _ => ("docker.io", path),
    };
    let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
    let folder = if registry == "docker.io" && !rest.contains('/') { "library/" } else { "" };
    let end = match (digest, tag) {
        (Some(digest), _) => format!("@{digest}"),
        (None, tag) => format!(":{}", tag.unwrap_or("latest")),
    };
    format!("{registry}/{folder}{rest}{end}")
}

/// The reference without its tag, and the tag where there is one. A digest stays with the name.
pub fn split_tag(reference: &str) -> (&str, Option<&str>) {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') && !name.contains('@') => (name, Some(tag)),
        _ => (reference, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_stand_for_whole_ones() {
        for (short, whole) in [
            ("redis", "docker.io/library/redis:latest"),
            ("redis:7", "docker.io/library/redis:7"),
            ("team/redis", "docker.io/team/redis:latest"),
            ("docker.io/redis:7", "docker.io/library/redis:7"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app", "localhost:5000/app:latest"),
            ("quay.io/team/app:1", "quay.io/team/app:1"),
            ("redis:7@sha256:ab", "docker.io/library/redis@sha256:ab"),
            ("", "docker.io/library/:latest"),
            (":", "docker.io/library/:"),
        ] {
            assert_eq!(full(short), whole, "{short}");
        }
    }
}
