//! Puts the catalog and its recipes into the program, for projects that have none of their own.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The folder with the catalog, relative to the workspace.
const FOLDER: &str = "images";
/// What of it no recipe reads.
const LEFT_OUT: [&str; 2] = ["lab", "README.md"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("..").canonicalize()?;
    println!("cargo::rerun-if-changed={}", root.join(FOLDER).display());
    let mut files = Vec::new();
    list(&root, Path::new(FOLDER), &mut files)?;
    files.sort();
    let mut text = String::from("const FILES: &[File] = &[\n");
    for file in &files {
        let whole = root.join(file);
        let executable = fs::metadata(&whole)?.permissions().mode() & 0o100 != 0;
        writeln!(text, "    File {{ path: {file:?}, executable: {executable}, content: include_bytes!({whole:?}) }},")?;
    }
    text.push_str("];\n");
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("recipes.rs"), text)?;
    Ok(())
}

/// Adds the files below `folder`, relative to `root`.
fn list(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        let kind = entry.file_type()?;
        if folder == Path::new(FOLDER) && LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if kind.is_dir() {
            list(root, &path, files)?;
        } else if kind.is_file() {
            files.push(path);
        } else {
            return Err(format!("{}: recipes are files and folders", path.display()).into());
        }
    }
    Ok(())
}
