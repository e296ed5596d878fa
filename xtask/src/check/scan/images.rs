//! Names of images in manifests that are slips of what the project builds.
//!
//! A registry may have any image. So a name is told only where nobody here builds it, and it is nearly that of an image
//! that is built here and used nowhere, or used from the same place.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::contexts::Chosen;
use crate::check::subject::close;
use crate::image_name::split_tag;
use crate::suite::yaml::Problem;

/// A shorter name is near to too many others.
const SHORTEST: usize = 4;

/// An image that a file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) file: Utf8PathBuf,
    pub(super) line: usize,
    pub(super) column: usize,
    /// As it stands there, without a tag or digest.
    pub(super) name: String,
}

/// The images that a YAML text names in its lines `image: …`, `newName: …` and, in a chart's values, `repository: …`.
pub(super) fn uses(file: &Utf8Path, text: &str) -> Vec<Use> {
    let mut all = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let content = line.trim_start().trim_start_matches("- ").trim_start();
        let value = ["image:", "newName:", "repository:"].iter().find_map(|key| content.strip_prefix(key));
        let Some(value) = value.filter(|value| value.starts_with([' ', '\t'])) else { continue };
        let value = value.split(" #").next().unwrap_or(value).trim().trim_matches(['"', '\'']);
        let fits = |c: char| c.is_ascii_alphanumeric() || "./:-_@".contains(c);
        if value.is_empty() || !value.chars().all(fits) || value.contains("://") || value.ends_with('/') {
            continue;
        }
        let name = split_tag(value.split('@').next().unwrap_or(value)).0;
        let column = line.find(value).map_or(1, |byte| line[..byte].chars().count() + 1);
        all.push(Use { file: file.to_owned(), line: at + 1, column, name: name.to_owned() });
    }
    all
}

fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// What is before the last name: registry and folders.
fn place(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(place, _)| place)
}

/// Names that differ in digits alone are those of a series.
fn is_series(one: &str, other: &str) -> bool {
    let letters = |name: &str| name.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    letters(one) == letters(other)
}

/// What is built: by its name, the Dockerfile and who says so.
type Names<'a> = BTreeMap<&'a str, &'a Chosen>;

/// The slips among `uses`.
pub(super) fn slips(builds: &[Chosen], uses: &[Use]) -> Vec<Problem> {
    let mut named: Names<'_> = BTreeMap::new();
    let mut guessed: Names<'_> = BTreeMap::new();
    for build in builds {
        named.extend(build.images.iter().map(|image| (split_tag(image).0, build)));
        guessed.extend(names_by_place(&build.image.dockerfile).map(|name| (name, build)));
    }
    let used: BTreeSet<&str> = uses.iter().map(|one| last(&one.name)).collect();
    let whole: BTreeSet<&str> = uses.iter().map(|one| one.name.as_str()).collect();
    let is_built = |name: &str| guessed.contains_key(name) || named.keys().any(|built| last(built) == name);
    // A registry's folder in which images of this project lie; without one, names that are put in later.
    let used_right = uses.iter().filter(|one| is_built(last(&one.name))).map(|one| one.name.as_str());
    let own: BTreeSet<&str> = used_right.chain(named.keys().copied()).map(place).collect();
    let mut problems = Vec::new();
    for one in uses {
        let name = last(&one.name);
        let free = |built: &str| !used.contains(last(built));
        // One that is used right elsewhere is meant only by the smallest slip, where images of this project are used.
        let is_ours = own.contains(place(&one.name));
        let is_smallest = |built: &str| is_ours && strsim::damerau_levenshtein(last(built), name) == 1;
        let near = if is_built(name) {
            // The same name in another place.
            let places = named.keys().copied().filter(|built| last(built) == name && !whole.contains(built));
            close(&one.name, places).filter(|_| !named.contains_key(one.name.as_str()))
        } else if name.len() >= SHORTEST {
            let told = named.keys().copied().filter(|built| free(built) || is_smallest(built)).map(last);
            let by_place = guessed.keys().copied().filter(|built| (free(built) && is_ours) || is_smallest(built));
            close(name, told.chain(by_place))
        } else {
            None
        };
        let Some(near) = near.filter(|near| !is_series(near, name) && !is_series(near, &one.name)) else { continue };
        let by = named.iter().find(|(built, _)| **built == near || last(built) == near).map(|(_, build)| *build);
        let Some(build) = by.or_else(|| guessed.get(near).copied()) else { continue };
        let message =
            format!("image `{}`: nothing here builds it; {} builds `{near}`", one.name, build.image.dockerfile);
        problems.push(Problem {
            file: one.file.clone(),
            line: one.line,
            column: one.column,
            message,
            hint: Some(format!("did you mean `{near}`?")),
            fix: None,
        });
    }
    problems
}

/// What an image is likely called by the place of its Dockerfile: `shop/Dockerfile`, `Dockerfile.shop`, `shop.Dockerfile`.
fn names_by_place(dockerfile: &Utf8Path) -> impl Iterator<Item = &str> {
    let file = dockerfile.file_name().unwrap_or_default();
    let folder = dockerfile.parent().and_then(Utf8Path::file_name);
    let of_file = file.strip_prefix("Dockerfile.").or_else(|| file.strip_suffix(".Dockerfile"));
    of_file.or(folder).into_iter().filter(|name| name.len() >= SHORTEST)
}

#[cfg(test)]
mod tests {
    use super::super::contexts::image;
    use super::*;

    #[test]
    fn lines_that_name_images_are_found() {
        let text = "a:\n  - image: r.example/shop:1 # x\n    image: \"db@sha256:ab\"\n  repository: {{ .x }}\n  image: $X\n  image:\n  repository: https://a/b\n  newName: web\n";
        let found: Vec<(usize, usize, String)> =
            uses("a.yaml".into(), text).into_iter().map(|one| (one.line, one.column, one.name)).collect();
        let expected = [(2, 12, "r.example/shop"), (3, 13, "db"), (8, 12, "web")];
        assert_eq!(found, expected.map(|(line, column, name)| (line, column, name.to_owned())));
    }

    #[test]
    fn a_slip_is_told_and_another_image_is_not() {
        let build = |dockerfile: &str, images: &[&str]| Chosen {
            image: image(dockerfile.into(), "".into(), None, BTreeMap::new()),
            said: None,
            images: images.iter().map(|image| (*image).to_owned()).collect(),
        };
        let builds = [
            build("Dockerfile", &["r.example/acme/shop:1"]),
            build("src/cart-service/Dockerfile", &[]),
            build("src/pay-v1/Dockerfile", &[]),
        ];
        for (texts, expected) in [
            (&["image: r.example/acme/shpo:1"][..], Some("shop")),
            (&["image: r.example/acme/shop:2"], None),
            // The registry's folder is the slip.
            (&["image: r.example/acmee/shop"], Some("r.example/acme/shop")),
            (&["image: r.example/acmee/shop", "image: r.example/acme/shop"], None),
            // Of images that lie elsewhere nothing is known.
            (&["image: docker.io/team/cart-servce"], None),
            (&["image: r.example/acme/cart-servce"], Some("cart-service")),
            (&["image: r.example/acme/cart-servce", "image: b/cart-service"], Some("cart-service")),
            (&["image: r.example/acme/cart-serce", "image: b/cart-service"], None),
            (&["image: r.example/acme/pay-v2", "image: r.example/acme/pay-v1"], None),
            (&["image: redis"], None),
        ] {
            let uses: Vec<Use> = texts.iter().flat_map(|text| uses("a.yaml".into(), text)).collect();
            let found: Vec<String> = slips(&builds, &uses).into_iter().filter_map(|problem| problem.hint).collect();
            let expected: Vec<String> = expected.iter().map(|name| format!("did you mean `{name}`?")).collect();
            assert_eq!(found, expected, "{texts:?}");
        }
    }
}
