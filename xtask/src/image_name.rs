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

/// Whether an image can be called so.
/// <https://github.com/distribution/reference/blob/main/reference.go>
pub fn is_reference(text: &str) -> bool {
    let (name, tag) = split_tag(text.split_once('@').map_or(text, |(name, _)| name));
    let is_tag = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let is_path = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.');
    let (registry, path) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) => (first, rest),
        _ => ("", name),
    };
    registry.chars().all(|c| is_tag(c) || matches!(c, ':' | '[' | ']'))
        && path.split('/').all(|part| !part.is_empty() && part.chars().all(is_path))
        && tag.is_none_or(|tag| !tag.is_empty() && tag.chars().all(is_tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_every_text_is_a_reference() {
        for (text, expected) in [
            ("redis", true),
            ("localhost:5000/team/a_b-c.d:v1.2_3-X", true),
            ("Registry.example/app@sha256:ab", true),
            ("[::1]:5000/app", true),
            ("front end", false),
            ("localhost/App:1", false),
            ("app:", false),
            ("app:a b", false),
            ("/app", false),
            ("a//b", false),
            ("", false),
        ] {
            assert_eq!(is_reference(text), expected, "{text}");
        }
    }

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
