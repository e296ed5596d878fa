//! `completions`: what a shell has to know to complete this program's words.

use clap::Command;
use clap_complete::{Shell, generate};

/// zsh's own completion of cargo looks for functions of such names. bash's script has it wrong where a name has a hyphen.
const NAMES: [&str; 2] = ["cargo-xtask", "xtask"];
/// bash completes by the first word, which is cargo: its second decides.
const BASH: &str = r#"
__cargo_or_xtask() {
    if [[ ${COMP_WORDS[1]} == xtask && $COMP_CWORD -gt 1 ]]; then
        COMP_WORDS=(xtask "${COMP_WORDS[@]:2}")
        COMP_CWORD=$((COMP_CWORD - 1))
        _xtask xtask "$2" "$3"
    elif declare -F _cargo >/dev/null; then
        _cargo "$@"
    fi
}
complete -F __cargo_or_xtask -o bashdefault -o default cargo
"#;

/// Print a script that lets a shell complete `cargo xtask …`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// In bash: `source <(cargo xtask completions bash)`; in zsh the same behind `compinit`
    pub shell: Shell,
}

/// Prints it, for the command line that `command` says.
pub fn run(command: Command, args: &Args) {
    let mut script = Vec::new();
    let name = if args.shell == Shell::Zsh { NAMES[0] } else { NAMES[1] };
    generate(args.shell, &mut command.name(name), name, &mut script);
    print!("{}", String::from_utf8_lossy(&script));
    if args.shell == Shell::Bash {
        print!("{BASH}");
    }
}
