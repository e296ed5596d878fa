//! `schema`: the form of a suite's file, for editors.

/// Print the JSON Schema of a suite's file
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Prints it.
pub fn run() {
    print!("{}", crate::suite::SCHEMA);
}
