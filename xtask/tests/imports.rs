//! No file of these crates imports another that imports it, by whatever detour: each can be read behind those that it
//! needs. What a `mod.rs` only hands on counts as the file that has it; tests may import what they like.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};

/// The files of a crate by the path of their module; the crate's own is empty.
struct Crate {
    texts: BTreeMap<String, String>,
}

impl Crate {
    fn read(src: &Utf8Path) -> Self {
        let mut texts = BTreeMap::new();
        let mut folders = vec![src.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in folder.read_dir_utf8().unwrap() {
                let path = entry.unwrap().into_path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension() == Some("rs") && !path.file_name().unwrap().ends_with("tests.rs") {
                    texts.insert(module(path.strip_prefix(src).unwrap()), code(&fs::read_to_string(&path).unwrap()));
                }
            }
        }
        Self { texts }
    }

    /// The module of this crate that `path` lies in, and the next name in it.
    fn owner<'p>(&self, path: &'p str) -> (&'p str, Option<&'p str>) {
        let mut end = path.len();
        loop {
            if self.texts.contains_key(&path[..end]) {
                return (
                    &path[..end],
                    path[end..].trim_start_matches(':').split(':').next().filter(|name| !name.is_empty()),
                );
            }
            end = path[..end].rfind("::").unwrap_or(0);
        }
    }

    /// Every import of a module, as paths from the crate's root: what is imported, and the name that it is handed on by.
    fn imports(&self, module: &str) -> Vec<(String, Option<String>)> {
        let mut all = Vec::new();
        for statement in self.texts[module].split(';') {
            let Some((visibility, import)) = import(statement) else { continue };
            let hands_on = visibility.starts_with("pub");
            for path in expand(import) {
                let (path, name) = path.split_once(" as ").map_or_else(
                    || (path.trim().to_owned(), path.rsplit("::").next().unwrap_or_default().trim().to_owned()),
                    |(path, name)| (path.trim().to_owned(), name.trim().to_owned()),
                );
                let path = path.trim_end_matches("::self");
                if let Some(path) = self.resolve(module, path) {
                    all.push((path, hands_on.then_some(name)));
                }
            }
        }
        all
    }

    /// `path`, written in `module`, from the crate's root; none where it is another crate's.
    fn resolve(&self, module: &str, path: &str) -> Option<String> {
        let join =
            |above: &str, path: &str| if above.is_empty() { path.to_owned() } else { format!("{above}::{path}") };
        if let Some(path) = path.strip_prefix("crate::") {
            return Some(path.to_owned());
        }
        if let Some(path) = path.strip_prefix("self::") {
            return Some(join(module, path));
        }
        let (mut above, mut rest, mut supers) = (module, path, 0);
        while let Some(after) = rest.strip_prefix("super::") {
            above = above.rfind("::").map_or("", |end| &above[..end]);
            (rest, supers) = (after, supers + 1);
        }
        let child = join(module, path.split("::").next()?);
        match supers {
            0 => self.texts.contains_key(&child).then(|| join(module, path)),
            _ => Some(join(above, rest)),
        }
    }

    /// The files that each file imports.
    fn edges(&self) -> BTreeMap<&str, BTreeSet<String>> {
        let imports: BTreeMap<&str, _> =
            self.texts.keys().map(|module| (module.as_str(), self.imports(module))).collect();
        let find = |path: &str| {
            let mut path = path.to_owned();
            // A name may be handed on several times.
            for _ in 0..8 {
                let (owner, Some(name)) = self.owner(&path) else { break };
                let on = imports[owner].iter().find(|(_, handed_on)| handed_on.as_deref() == Some(name));
                match on {
                    Some((next, _)) => path.clone_from(next),
                    None => break,
                }
            }
            self.owner(&path).0.to_owned()
        };
        let of = |module: &str| {
            let direct = imports[module].iter().filter(|(_, handed_on)| handed_on.is_none());
            direct.map(|(path, _)| find(path)).filter(|other| other != module).collect()
        };
        self.texts.keys().map(|module| (module.as_str(), of(module))).collect()
    }

    /// Files that import themselves by a detour, each with that detour; of a cycle only the first.
    fn cycles(&self) -> Vec<Vec<String>> {
        let edges = self.edges();
        let mut cycles: Vec<Vec<String>> = Vec::new();
        for &start in edges.keys() {
            if !cycles.iter().flatten().any(|known| known == start) {
                cycles.extend(detour(&edges, start));
            }
        }
        cycles
    }
}

/// The way from a file to itself, along what each imports; none where there is none.
fn detour(edges: &BTreeMap<&str, BTreeSet<String>>, start: &str) -> Option<Vec<String>> {
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = vec![start];
    while let Some(at) = queue.pop() {
        for next in &edges[at] {
            if next == start {
                let earlier = std::iter::successors(Some(at), |at| before.get(at).copied());
                let mut path: Vec<String> = std::iter::once(start).chain(earlier).map(str::to_owned).collect();
                path.reverse();
                return Some(path);
            }
            if !before.contains_key(next.as_str()) {
                before.insert(next, at);
                queue.push(next);
            }
        }
    }
    None
}

/// The module that a file is.
fn module(file: &Utf8Path) -> String {
    let path = file.with_extension("");
    let names: Vec<&str> = path.components().map(|part| part.as_str()).collect();
    let names = match names.as_slice() {
        [above @ .., "mod"] => above,
        ["lib" | "main"] => &[],
        all => all,
    };
    names.join("::")
}

/// The text of a file up to its tests, without comments and without the words of visibility that look like paths.
fn code(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let is_tests = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].ends_with("mod tests {");
    let end = lines.windows(2).position(is_tests).unwrap_or(lines.len());
    let lines = lines[..end].iter().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// What stands before and after the `use` of a statement that is one, whatever stands before it in the file.
fn import(statement: &str) -> Option<(&str, &str)> {
    let starts = statement.match_indices('\n').map(|(at, _)| at + 1).chain([0]);
    let lines = starts.map(|at| statement[at..].trim_start());
    lines.filter_map(|rest| rest.split_once("use ")).find(|(before, after)| {
        let before = before.trim_end();
        let is_visibility =
            before.is_empty() || before == "pub" || (before.starts_with("pub(") && before.ends_with(')'));
        // A line of a text may begin with the word.
        is_visibility && after.starts_with(char::is_alphabetic)
    })
}

/// The paths of an import: `a::{b, c::{d}}` are `a::b` and `a::c::d`.
fn expand(import: &str) -> Vec<String> {
    let import = import.split_whitespace().collect::<Vec<_>>().join(" ");
    let Some(open) = import.find('{') else { return vec![import] };
    let Some(close) = import.rfind('}') else { return vec![import] };
    let (mut depth, mut begin, mut parts) = (0, 0, Vec::new());
    let inside = &import[open + 1..close];
    for (at, letter) in inside.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inside[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inside[begin..]);
    let parts = parts.into_iter().map(str::trim).filter(|part| !part.is_empty());
    parts.flat_map(|part| expand(&format!("{}{part}", &import[..open]))).collect()
}

fn root() -> Utf8PathBuf {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn no_file_imports_itself_by_a_detour() {
    let mut cycles = Vec::new();
    for name in ["xtask", "e2e-support"] {
        let files = Crate::read(&root().join(name).join("src"));
        let found = files.edges().values().map(BTreeSet::len).sum::<usize>();
        assert!(found > files.texts.len(), "imports are found in {name}");
        cycles.extend(files.cycles().iter().map(|cycle| format!("{name}: {}", cycle.join(" -> "))));
    }
    assert!(cycles.is_empty(), "files import each other in cycles:\n{}", cycles.join("\n"));
}

#[test]
fn a_cycle_is_found_through_what_is_handed_on() {
    let texts = [
        ("", "pub mod a;"),
        ("a", "mod b;\nmod c;\npub use b::Name;\nuse self::c::{One, Two};"),
        ("a::b", "use super::c::One as Other;\npub struct Name;"),
        ("a::c", "use crate::{\n    a::{Name},\n};\nconst TEXT: &str = \"\\\nuse a::a, {so}\";"),
    ];
    let texts = texts.map(|(module, text)| (module.to_owned(), code(text)));
    let mut files = Crate { texts: texts.into() };
    assert_eq!(files.cycles(), [["a::b", "a::c", "a::b"]]);
    let tests = "// use crate::a::Name;\npub struct One;\n#[cfg(test)]\nmod tests {\n    use crate::a::Name;\n}\n";
    files.texts.insert("a::c".into(), code(tests));
    assert!(files.cycles().is_empty());
}
