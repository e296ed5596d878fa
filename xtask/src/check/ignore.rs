//! `.dockerignore`: what does not get into a build context.
//! <https://docs.docker.com/build/concepts/context/#dockerignore-files>

use camino::{Utf8Path, Utf8PathBuf};

use crate::dockerfile::join;
use crate::dockerfile::pattern::{Stars, matches};
use crate::suite::yaml::read_file;

/// The rules of one file, in its order; the last one that fits decides.
#[derive(Debug, Default)]
pub(super) struct Ignore {
    /// The file's name, for messages.
    pub(super) file: Utf8PathBuf,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    is_exception: bool,
    pattern: String,
}

impl Ignore {
    /// The rules for a build of `dockerfile` in the folder `context`, both relative to `root`: those of the Dockerfile
    /// go before those of the context.
    pub(super) fn read(root: &Utf8Path, context: &Utf8Path, dockerfile: &Utf8Path) -> Ignore {
        let of_dockerfile = Utf8PathBuf::from(format!("{dockerfile}.dockerignore"));
        for file in [of_dockerfile, context.join(".dockerignore"), context.join(".containerignore")] {
            if let Ok(text) = read_file(&root.join(&file)) {
                let file = file.strip_prefix(".").map(Utf8Path::to_owned).unwrap_or(file);
                return Ignore { file, ..Ignore::parse(&String::from_utf8_lossy(&text)) };
            }
        }
        Ignore::default()
    }

    pub(super) fn parse(text: &str) -> Ignore {
        let lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines();
        let lines = lines.filter(|line| !line.starts_with('#')).map(str::trim).filter(|line| !line.is_empty());
        let rule = |line: &str| {
            let (is_exception, pattern) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest.trim()));
            let pattern = join("/".into(), pattern.trim_start_matches('/')).as_str()[1..].to_owned();
            Rule { is_exception, pattern }
        };
        Ignore { rules: lines.map(rule).filter(|rule| !rule.pattern.is_empty()).collect(), ..Ignore::default() }
    }

    /// Whether `path`, relative to the context, does not get in: by itself or by a folder above it.
    pub(super) fn excludes(&self, path: &Utf8Path) -> bool {
        let parents = || path.ancestors().filter(|path| !path.as_str().is_empty());
        let fits = |rule: &&Rule| parents().any(|path| matches(&rule.pattern, path.as_str(), Stars::Folders));
        self.rules.iter().rfind(fits).is_some_and(|rule| !rule.is_exception)
    }

    /// Whether something below the folder `path` may get in by an exception.
    pub(super) fn keeps_below(&self, path: &Utf8Path) -> bool {
        self.rules.iter().filter(|rule| rule.is_exception).any(|rule| {
            let mut pattern = rule.pattern.split('/');
            path.components().all(|folder| match pattern.clone().next() {
                Some("**") => true,
                Some(part) if matches(part, folder.as_str(), Stars::Folders) => pattern.next().is_some(),
                _ => false,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rule_that_fits_decides() {
        for (text, path, excluded) in [
            ("# all\n*\n!api/src\n!Cargo.toml\n", "api/src/lib.rs", false),
            ("*\n!api/src\n", "api/src", false),
            ("*\n!Cargo.toml\n", "Cargo.toml", false),
            ("*\n!api/src\n", "shop/src", true),
            ("./conf\n", "conf/a.yaml", true),
            ("/conf/\n", "conf/a.yaml", true),
            ("conf//x/../y\n", "conf/y", true),
            ("**/bin\n", "cabin", false),
            ("**/bin\n", "a/bin/x", true),
            ("*\n!**/*.md\n", "a/b.md", false),
            ("\u{feff}conf\n", "conf", true),
            ("! conf\n", "conf", false),
            ("*.yaml\n", "conf/a.yaml", false),
            ("# conf\n#conf", "conf", false),
            ("!\n/\n.\n", "conf", false),
        ] {
            assert_eq!(Ignore::parse(text).excludes(Utf8Path::new(path)), excluded, "{text:?} {path}");
        }
    }

    #[test]
    fn an_exception_keeps_what_lies_below_a_folder() {
        for (text, path, keeps) in [
            ("*\n!api/src\n", "api", true),
            ("*\n!api/src\n", "shop", false),
            ("*\n!*/src\n", "shop", true),
            ("*\n!**/*.yaml\n", "conf/deep", true),
            ("*\n!conf\n", "conf", true),
            ("conf\n", "conf", false),
        ] {
            assert_eq!(Ignore::parse(text).keeps_below(Utf8Path::new(path)), keeps, "{text:?} {path}");
        }
    }
}
