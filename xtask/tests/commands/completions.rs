//! `completions`: what bash makes of it.

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
    if Job::new(cmd!(sh, "bash -c true")).run().is_err() {
        return Ok(());
    }
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
