//! `completions`: what shells make of it.

use std::time::Duration;

use anyhow::Result;
use e2e_support::Job;
use xshell::{Shell, cmd};

use crate::support::Stage;

#[test]
fn bash_completes_the_words_behind_cargo_xtask() -> Result<()> {
    let stage = Stage::bare()?;
    let script = stage.xtask(&["completions", "bash"])?;
    stage.write("script", &script.text)?;
    let sh = Shell::new()?;
    let file = stage.paths.root.join("script");
    for (words, word, expected) in
        [("cargo xtask che", "che", "check"), ("cargo xtask check --expl", "--expl", "--explain")]
    {
        let ask = "source \"$0\"; COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); \
                   __cargo_or_xtask cargo \"$2\" \"\"; echo \"${COMPREPLY[@]}\"";
        assert_eq!(Job::new(cmd!(sh, "bash -c {ask} {file} {words} {word}")).read()?, expected, "{words}");
    }
    Ok(())
}

/// Line, and what it becomes or offers.
const LINES: [(&str, &str); 3] =
    [("xtask che", "check"), ("cargo xtask che", "check"), ("cargo xtask check --expl", "--explain")];

#[test]
fn fish_completes_the_words_behind_cargo_xtask() -> Result<()> {
    let stage = Stage::bare()?;
    let script = stage.xtask(&["completions", "fish"])?;
    stage.write("script", &script.text)?;
    let sh = Shell::new()?;
    let (ask, file) = ("source $argv[1]; complete -C $argv[2]", stage.paths.root.join("script"));
    for (line, expected) in LINES.into_iter().chain([("cargo xt", "xtask")]) {
        let offered = Job::new(cmd!(sh, "fish --no-config -c {ask} {file} {line}")).read()?;
        assert!(offered.lines().any(|one| one.starts_with(expected)), "{line}: {offered}");
    }
    Ok(())
}

#[test]
fn zsh_completes_the_words_behind_cargo_xtask() -> Result<()> {
    /// A terminal in which the key is pressed: it ends with what is there then.
    const ASK: &str = r#"
        zmodload zsh/zpty
        zpty shell zsh -f -i
        zpty -w shell "autoload -Uz compinit; compinit -u -D; source $1; echo REA''DY"
        zpty -r -m shell shown '*READY*'
        zpty -n -w shell "$2"$'\t'
        zpty -r -m shell shown "*$3*"
        [[ $shown == *$3* ]] && echo done
    "#;
    let stage = Stage::bare()?;
    let script = stage.xtask(&["completions", "zsh"])?;
    stage.write("script", &script.text)?;
    let sh = Shell::new()?;
    let file = stage.paths.root.join("script");
    for (line, expected) in LINES {
        let job = Job::new(cmd!(sh, "zsh -f -c {ASK} zsh {file} {line} {expected}"));
        assert_eq!(job.deadline(Duration::from_secs(60)).read()?, "done", "{line}");
    }
    Ok(())
}
