//! One sentence out of what programs of a node wrote before they ended.

use std::collections::BTreeSet;

/// The sentence in what `kind create cluster` printed: the engine's or kubeadm's own words, without the command lines
/// and the stack traces around them. `None` where it holds none of the known ones.
pub(super) fn by_kind(output: &str) -> Option<String> {
    let lines: Vec<&str> = output.lines().collect();
    if let Some(panic) = lines.iter().find(|line| line.starts_with("panic: ") || line.starts_with("fatal error: ")) {
        return Some(format!("kind ended with {panic}"));
    }
    let at = lines.iter().rposition(|line| line.starts_with(KIND_FAILED))?;
    let head = lines[at].trim_start_matches(KIND_FAILED);
    let below = &lines[at + 1..];
    let program = match head.split_once("command \"") {
        None => return Some(head.to_owned()),
        Some((_, command)) => command,
    };
    let checks: BTreeSet<&str> = below.iter().filter_map(|line| line.trim().strip_prefix("[ERROR ")).collect();
    if !checks.is_empty() {
        let checks: Vec<String> = checks.iter().map(|check| check.replacen("]: ", ": ", 1)).collect();
        return Some(format!("kubeadm: {}", checks.join("; ")));
    }
    let words = |line: &&str| {
        let line = line.trim_start_matches("Command Output: ").trim();
        let line = line.strip_prefix("docker: ").unwrap_or(line);
        ENGINE_OR_KUBEADM.iter().find_map(|start| line.strip_prefix(start)).map(str::to_owned)
    };
    // Of several the last one is what it ended with.
    if let Some(said) = below.iter().rev().find_map(words) {
        let who = if program.contains(" kubeadm ") { "kubeadm" } else { program.split(' ').next().unwrap_or_default() };
        return Some(format!("{who}: {said}"));
    }
    let last =
        below.iter().map(|line| line.trim_start_matches("Command Output: ").trim()).rfind(|line| !line.is_empty());
    Some(match last {
        Some(last) => format!("`{}…: {last}", program.chars().take(60).collect::<String>()),
        None => head.to_owned(),
    })
}

const KIND_FAILED: &str = "ERROR: failed to create cluster: ";
const ENGINE_OR_KUBEADM: [&str; 3] = ["error: ", "Error: ", "Error response from daemon: "];

/// The ports that the engine says are taken, where it says so: `Some` of none where it names none.
pub fn taken_ports(output: &str) -> Option<Vec<u16>> {
    let told = ["address already in use", "port is already allocated", "proxy already running"];
    let mut lines = output.lines().filter(|line| told.iter().any(|words| line.contains(words))).peekable();
    lines.peek()?;
    let numbers = lines.flat_map(|line| line.split(':').skip(1)).filter_map(|rest| {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
        digits.parse().ok().filter(|port| *port > 0)
    });
    Some(numbers.collect())
}

/// What the systemd unit `unit` said before its main process ended for the last time; `None` where it never did. `journal`
/// is the unit's, messages only.
pub(super) fn by_unit(journal: &str, unit: &str) -> Option<String> {
    let lines: Vec<&str> = journal.lines().collect();
    let of_systemd = |line: &str| line.starts_with(&format!("{unit}.service: "));
    let ended = lines.iter().rposition(|line| of_systemd(line) && line.contains("Main process exited"))?;
    let begin = lines[..ended].iter().rposition(|line| line.starts_with("Started ") || of_systemd(line));
    by_program(&lines[begin.map_or(0, |begin| begin + 1)..ended])
}

/// The last complaint of a program that has ended, or where there is none its last words.
pub(super) fn by_program(lines: &[&str]) -> Option<String> {
    let complaint = lines.iter().rev().find_map(|line| complaint(line.trim()));
    complaint.or_else(|| lines.iter().rfind(|line| !line.trim().is_empty()).map(|line| line.trim().to_owned()))
}

/// The message of a line that says that something is wrong, in one of the formats of a node's programs.
fn complaint(line: &str) -> Option<String> {
    if let Some((header, message)) = line.split_once("] ")
        && header.starts_with(['E', 'F'])
        && header[1..].starts_with(|c: char| c.is_ascii_digit())
    {
        let (text, error) = (quoted(message), message.split_once(" err=").and_then(|(_, error)| quoted(error)));
        return Some(match (text, error) {
            (Some(text), Some(error)) if text == "command failed" => error,
            (Some(text), Some(error)) => format!("{text}: {error}"),
            (Some(text), None) => text,
            (None, _) => message.to_owned(),
        });
    }
    // What will be a reason in years is none now.
    let is_deprecation = line.contains("msg=\"DEPRECATION: ");
    if !is_deprecation && ["level=fatal", "level=error", "level=warn"].iter().any(|level| line.contains(level)) {
        let value = |key: &str| {
            let rest = line.split_once(key)?.1;
            quoted(rest).or_else(|| rest.split_whitespace().next().map(str::to_owned))
        };
        let (text, error) = (value(" msg=")?, value(" error="));
        return Some(error.map_or(text.clone(), |error| format!("{text}: {error}")));
    }
    if line.starts_with('{') {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        let level = value["level"].as_str()?;
        let text = value["msg"].as_str()?;
        let error = value["error"].as_str().map_or(String::new(), |error| format!(": {error}"));
        return matches!(level, "error" | "fatal" | "panic").then(|| format!("{text}{error}"));
    }
    let starts = ["Error: ", "error: ", "panic: ", "fatal error: ", "containerd: "];
    starts.iter().any(|start| line.starts_with(start)).then(|| line.trim_start_matches("Error: ").to_owned())
}

/// The Go string literal that `text` begins with, what is escaped in it made plain.
fn quoted(text: &str) -> Option<String> {
    let mut plain = String::new();
    let mut rest = text.strip_prefix('"')?.chars();
    loop {
        match rest.next()? {
            '"' => return Some(plain),
            '\\' => match rest.next()? {
                'n' | 't' => plain.push(' '),
                other => plain.push(other),
            },
            other => plain.push(other),
        }
    }
}

/// The last words on a container's console, without colours and without systemd's list of what it has started.
pub(super) fn by_console(text: &str) -> Option<String> {
    let lines = text.lines().map(|line| without_escapes(line).trim().to_owned());
    let mut lines: Vec<String> = lines.filter(|line| !line.is_empty() && !line.contains("  OK  ")).collect();
    let last = lines.pop()?;
    let freezing = last.contains("Freezing execution");
    Some(if freezing { lines.pop().unwrap_or(last) } else { last })
}

fn without_escapes(line: &str) -> String {
    let mut plain = String::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // ESC [ parameters, to the first letter.
            let _ = chars.by_ref().find(char::is_ascii_alphabetic);
        } else if !c.is_control() {
            plain.push(c);
        }
    }
    plain
}

/// What programs say that get no inotify instance any more, and no open file.
pub(super) const USED_UP: &str = "too many open files";

/// What to do about it, for what a machine's limits bring about.
pub(super) fn advice(sentence: &str) -> Option<&'static str> {
    let has = |words: &str| sentence.to_lowercase().contains(words);
    if has(USED_UP) || has("inotify_init") {
        return Some(
            "the machine's limits of inotify are used up: raise them by \
             `sysctl fs.inotify.max_user_instances=1024 fs.inotify.max_user_watches=1048576`",
        );
    }
    if has("inotify") && has("no space left on device") {
        return Some("no inotify watch is left on this machine: raise `sysctl fs.inotify.max_user_watches=1048576`");
    }
    // https://github.com/kubernetes/kubernetes/blob/v1.37.0/pkg/kubelet/apis/config/validation/validation_linux.go
    if has("cgroup v1") && has("kubelet") {
        return Some(
            "kind's configuration can tell it to: in kubeadmConfigPatches, `kind: KubeletConfiguration` with \
             `failCgroupV1: false`",
        );
    }
    None
}
