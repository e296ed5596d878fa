//! The specs of a suite, and what runs them.

use camino::Utf8PathBuf;
use serde::Deserialize;

use super::call::Call;

/// The specs of a suite.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Specs {
    /// The package that holds them, where cargo builds them.
    pub package: Option<String>,
    /// The binary of that package.
    pub binary: Option<String>,
    /// In place of a package: the command that runs them, without their arguments. A program with a slash in it is a path
    /// of the workspace, another one is looked for on PATH.
    #[serde(default)]
    pub program: Vec<String>,
    /// The groups that must be ready before the first spec.
    #[serde(default)]
    pub needs: Vec<String>,
    /// The phase that their time counts for.
    pub phase: String,
    /// What each spec takes: the file that shards are split by, relative to the workspace. `cargo xtask times` writes it.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub times: Option<Utf8PathBuf>,
    /// What they ask of the API server themselves, with the user's own rights. On a cluster that others use it is asked
    /// beforehand whether the user may.
    #[serde(default)]
    pub rights: Vec<Call>,
}

/// What runs the specs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecsProgram<'s> {
    /// A binary that cargo builds.
    Binary {
        /// Its package.
        package: &'s str,
        /// Its name.
        binary: &'s str,
    },
    /// Something that is there already: a program, and the first of its arguments.
    Command(&'s [String]),
}

impl Specs {
    /// What runs them.
    pub fn runs(&self) -> SpecsProgram<'_> {
        match (&self.package, &self.binary) {
            (Some(package), Some(binary)) => SpecsProgram::Binary { package, binary },
            // A suite that names neither or both is refused when it is read.
            _ => SpecsProgram::Command(&self.program),
        }
    }

    /// The package that has them; none where it is no package's binary that runs them.
    pub fn package(&self) -> Option<&str> {
        match self.runs() {
            SpecsProgram::Binary { package, .. } => Some(package),
            SpecsProgram::Command(_) => None,
        }
    }
}
