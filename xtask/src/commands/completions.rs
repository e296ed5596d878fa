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
/// Where cargo's own completion is there it asks for the function of this name; the program's own name is nobody's.
const ZSH: &str = r#"
compdef _cargo-xtask xtask
if (( ! ${+_comps[cargo]} )); then
    __cargo_or_xtask() {
        if [[ $words[2] == xtask ]] && (( CURRENT > 2 )); then
            shift words
            (( CURRENT-- ))
            _cargo-xtask
        else
            _default
        fi
    }
    compdef __cargo_or_xtask cargo
fi
"#;
/// fish completes by the first word, too.
const FISH: &str = r#"
function __fish_cargo_xtask
    set -l words (commandline -opc)
    set -e words[1..2]
    complete -C "xtask "(string join " " -- (string escape -- $words) (commandline -ct))
end
complete -c cargo -n "__fish_use_subcommand" -f -a xtask -d "Runs suites on a cluster, and looks for mistakes before"
complete -c cargo -n 'set -l words (commandline -opc); test (count $words) -gt 1; and test $words[2] = xtask' -f \
    -a "(__fish_cargo_xtask)"
"#;

/// Print a script that lets a shell complete `cargo xtask …`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// In bash: `source <(cargo xtask completions bash)`; in zsh the same behind `compinit`; in fish:
    /// `cargo xtask completions fish | source`
    pub shell: Shell,
}

/// Prints it, for the command line that `command` says.
pub fn run(command: Command, args: &Args) {
    let mut script = Vec::new();
    let name = if args.shell == Shell::Zsh { NAMES[0] } else { NAMES[1] };
    generate(args.shell, &mut command.name(name), name, &mut script);
    print!("{}", String::from_utf8_lossy(&script));
    let more = match args.shell {
        Shell::Bash => BASH,
        Shell::Zsh => ZSH,
        Shell::Fish => FISH,
        _ => "",
    };
    print!("{more}");
}
