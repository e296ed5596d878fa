//! Writes the CRD YAML from the Rust types, or tells where the files have drifted from them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

const USAGE: &str = "usage: crds [--out DIR] [--check]
  --out DIR  the folder of the YAML files (default: manifests/crds)
  --check    change nothing; exit 1 at the first file that differs from the types";

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: impl Iterator<Item = String>) -> Result<()> {
    let mut out = PathBuf::from("manifests/crds");
    let mut check = false;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--out" => {
                out = args.next().map(PathBuf::from).with_context(|| format!("--out needs a folder\n{USAGE}"))?
            }
            "--check" => check = true,
            "--help" | "-h" => {
                println!("{USAGE}");
                return Ok(());
            }
            other => bail!("unknown argument {other:?}\n{USAGE}"),
        }
    }
    for (file_name, definition) in api::custom_resource_definitions() {
        let yaml = serde_yaml::to_string(&definition)
            .with_context(|| format!("turning the definition of {file_name} into YAML"))?;
        let wanted =
            format!("# Generated from the Rust types by `cargo xtask crds`: change those, not this file.\n{yaml}");
        let path = out.join(file_name);
        if check { compare(&path, &wanted)? } else { write(&path, &wanted)? }
    }
    Ok(())
}

fn write(path: &Path, wanted: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    }
    std::fs::write(path, wanted).with_context(|| format!("writing {}", path.display()))?;
    println!("wrote {}", path.display());
    Ok(())
}

fn compare(path: &Path, wanted: &str) -> Result<()> {
    let found = std::fs::read_to_string(path)
        .with_context(|| format!("reading {}: run `cargo xtask crds` and commit what it writes", path.display()))?;
    if found == wanted {
        println!("{} is what the types say", path.display());
        return Ok(());
    }
    let same_lines = found.lines().zip(wanted.lines()).take_while(|(a, b)| a == b).count();
    let shown = |text: &str| {
        text.lines().nth(same_lines).map_or_else(|| "(the file ends)".to_owned(), |line| format!("{line:?}"))
    };
    bail!(
        "{}:{}: differs from the Rust types\n  found:  {}\n  wanted: {}\nrun `cargo xtask crds` and commit what it writes",
        path.display(),
        same_lines + 1,
        shown(&found),
        shown(wanted),
    )
}
