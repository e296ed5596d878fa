//! Programs that play podman, docker, kind, kubectl and others, for tests that take milliseconds.
//!
//! A [`Fake`] is a folder with programs in it, each a link to one script, so that nothing is written that is then
//! started. Every call is noted. What it does says the newest rule whose pattern matches its arguments; without one,
//! podman and docker work on containers and images that are mere folders, kind makes a node among them, and all other
//! programs fail and say that they have no rule.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};

/// The folder of the scripts.
const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/fakes");
/// What every fake program is a link to, in that folder.
const PROGRAM: &str = "program.sh";
/// The programs that are there from the start; `ip` and `iptables`, because the real ones would tell of this machine.
const PROGRAMS: [&str; 6] = ["podman", "docker", "kind", "kubectl", "ip", "iptables"];
/// Real programs that do no harm, for a PATH on which nothing else is.
const TOOLS: [&str; 14] =
    ["sh", "bash", "cat", "cp", "rm", "sleep", "mkdir", "env", "uname", "df", "getconf", "pgrep", "kill", "true"];
/// More rules than a test can have: their names count down from here, so that the newest comes first.
const RULES: usize = 9999;

/// What kubeadm leaves in a node.
const CREDENTIALS: &str = "\
apiVersion: v1
kind: Config
clusters: [{ name: fake, cluster: { server: 'https://fake-control-plane:6443' } }]
users: [{ name: admin, user: { token: t } }]
contexts: [{ name: admin@fake, context: { cluster: fake, user: admin } }]";

/// A folder of fake programs.
#[derive(Debug)]
pub struct Fake {
    dir: Utf8PathBuf,
    rules: AtomicUsize,
}

/// One call of a fake program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub program: String,
    pub args: Vec<String>,
    /// Those of the variables named to [`Fake::note`] that it had.
    pub env: BTreeMap<String, String>,
}

/// What a rule has a program do: print, wait, end.
#[derive(Clone, Debug, Default)]
pub struct Play {
    stdout: String,
    stderr: String,
    script: String,
    delay: Duration,
    times: Option<usize>,
    ending: Ending,
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Exit(u8),
    /// With the next rule that matches, or what the program does by itself.
    PassOn,
    Hang,
    Deaf,
    Kill,
}

impl Default for Ending {
    fn default() -> Ending {
        Ending::Exit(0)
    }
}

impl Play {
    /// Prints `text` and a line's end, and exits with 0.
    pub fn says(text: impl Into<String>) -> Play {
        Play { stdout: text.into() + "\n", ..Play::default() }
    }

    /// Prints `text` to standard error, and exits with `code`.
    pub fn fails(code: u8, text: impl Into<String>) -> Play {
        Play { stderr: text.into() + "\n", ending: Ending::Exit(code), ..Play::default() }
    }

    /// Prints nothing until it is killed; SIGTERM is enough.
    pub fn hangs() -> Play {
        Play { ending: Ending::Hang, ..Play::default() }
    }

    /// Prints nothing until it is killed by SIGKILL.
    pub fn hangs_deaf() -> Play {
        Play { ending: Ending::Deaf, ..Play::default() }
    }

    /// Dies by SIGKILL, as when the machine runs out of memory.
    pub fn dies() -> Play {
        Play { ending: Ending::Kill, ..Play::default() }
    }

    /// Waits, then does what it would do without this rule.
    pub fn slow(delay: Duration) -> Play {
        Play { delay, ending: Ending::PassOn, ..Play::default() }
    }

    /// Runs lines of shell, which see the arguments and `$home`, this fake's folder; exits with 0 if they do not.
    pub fn script(lines: impl Into<String>) -> Play {
        Play { script: lines.into() + "\n", ..Play::default() }
    }

    /// Prints that to standard output, too.
    #[must_use]
    pub fn and_says(mut self, text: &str) -> Play {
        self.stdout.push_str(text);
        self.stdout.push('\n');
        self
    }

    /// Prints that to standard error, too.
    #[must_use]
    pub fn and_warns(mut self, text: &str) -> Play {
        self.stderr.push_str(text);
        self.stderr.push('\n');
        self
    }

    /// Waits so long before anything else.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Play {
        self.delay = delay;
        self
    }

    /// Does what it would do without this rule, in place of an exit.
    #[must_use]
    pub fn and_passes_on(mut self) -> Play {
        self.ending = Ending::PassOn;
        self
    }

    /// Counts only the first so many times that it matches.
    #[must_use]
    pub fn times(mut self, times: usize) -> Play {
        self.times = Some(times);
        self
    }

    fn shell(&self, rule: &str, pattern: &str) -> String {
        let mut body = String::new();
        if !self.delay.is_zero() {
            body += &format!("sleep {}\n", self.delay.as_secs_f64());
        }
        for (text, to) in [(&self.stdout, ""), (&self.stderr, " >&2")] {
            if !text.is_empty() {
                body += &format!("printf %s {}{to}\n", quoted(text));
            }
        }
        body += &self.script;
        match self.ending {
            Ending::Exit(code) => body += &format!("exit {code}\n"),
            Ending::PassOn => body += ":\n",
            Ending::Hang => body += "exec sleep 1000000\n",
            Ending::Deaf => body += "trap '' TERM INT HUP\nexec sleep 1000000\n",
            Ending::Kill => body += "kill -s KILL $$\n",
        }
        let taken = self.times.map_or_else(|| "true".to_owned(), |times| format!("take {rule} {times}"));
        format!("case \"$*\" in\n({})\nif {taken}; then\n{body}fi\n;;\nesac\n", escaped(pattern))
    }
}

impl Fake {
    /// Makes one in the folder `dir`, with podman, docker, kind, kubectl, ip and iptables.
    ///
    /// # Errors
    /// When the folder cannot be written to, or a path is not UTF-8.
    pub fn new(dir: impl AsRef<Path>) -> Result<Fake> {
        let dir = Utf8Path::from_path(dir.as_ref()).context("the folder's path is not UTF-8")?.to_owned();
        let fake = Fake { dir, rules: AtomicUsize::new(RULES) };
        let of_engines = ["containers", "images", "tags", "volumes", "networks", "ids"];
        let of_engines =
            ["podman", "docker"].iter().flat_map(|engine| of_engines.map(|name| format!("{engine}/{name}")));
        for folder in of_engines.chain(["bin", "tools"].map(str::to_owned)) {
            let folder = fake.dir.join(folder);
            fs::create_dir_all(&folder).with_context(|| format!("making the folder {folder}"))?;
        }
        fake.write("path", &format!("{}\n", std::env::var("PATH").unwrap_or_default()))?;
        fake.write("here", &format!("{HERE}\n"))?;
        fake.write("journal", "")?;
        fake.note(&[])?;
        for program in PROGRAMS {
            fake.add(program)?;
        }
        for tool in TOOLS {
            fake.tool(tool)?;
        }
        Ok(fake)
    }

    /// The folder that all of it is in.
    pub fn dir(&self) -> &Utf8Path {
        &self.dir
    }

    /// A PATH with the fake programs, and those few real ones that any script needs.
    pub fn path(&self) -> String {
        format!("{}:{}", self.dir.join("bin"), self.dir.join("tools"))
    }

    /// Where the program `name` is, or would be.
    pub fn program(&self, name: &str) -> Utf8PathBuf {
        self.dir.join("bin").join(name)
    }

    /// Adds a program.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn add(&self, name: &str) -> Result<()> {
        let (link, rules) = (self.program(name), self.dir.join("rules").join(name));
        fs::create_dir_all(&rules).with_context(|| format!("making the folder {rules}"))?;
        if link.is_symlink() {
            return Ok(());
        }
        std::os::unix::fs::symlink(Utf8Path::new(HERE).join(PROGRAM), &link).with_context(|| format!("linking {link}"))
    }

    /// Takes a program away, as where it is not installed.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn remove(&self, name: &str) -> Result<()> {
        let link = self.program(name);
        fs::remove_file(&link).with_context(|| format!("removing {link}"))
    }

    /// Adds the real program `name` of this machine, if it has one.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn tool(&self, name: &str) -> Result<()> {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let Some(real) = std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
        else {
            return Ok(());
        };
        let link = self.dir.join("tools").join(name);
        std::os::unix::fs::symlink(real, &link).with_context(|| format!("linking {link}"))
    }

    /// From now on `program` does `play` where its arguments, joined by blanks, match `pattern`: as in a shell's
    /// `case`, with `*`, `?` and `|`. Newer rules come first. The program is added if there is none of that name.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn on(&self, program: &str, pattern: &str, play: Play) -> Result<&Fake> {
        self.add(program)?;
        let rule = format!("{:04}", self.rules.fetch_sub(1, Ordering::SeqCst));
        self.write(&format!("rules/{program}/{rule}.sh"), &play.shell(&rule, pattern))?;
        Ok(self)
    }

    /// From now on a node answers as a cluster that is well: its runtime, its credentials, its API server, its DNS.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn cluster_answers(&self) -> Result<()> {
        for engine in ["podman", "docker"] {
            self.on(engine, "exec * sh -c *admin.conf*", Play::says(CREDENTIALS))?;
            // The header of an answer with one record, as `od` prints it.
            self.on(engine, "exec * bash -c */dev/tcp/*", Play::says(" 14 46 129 128 0 1 0 1 0 0 0 0"))?;
        }
        self.on("kubectl", "* get --raw /readyz", Play::says("ok"))?;
        self.on("kubectl", "* get service kube-dns *", Play::says("10.96.0.10"))?;
        Ok(())
    }

    /// From now on every call notes these environment variables.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn note(&self, variables: &[&str]) -> Result<()> {
        self.write("variables", &format!("{}\n", variables.join(" ")))
    }

    /// All calls until now, in their order.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn calls(&self) -> Result<Vec<Call>> {
        let path = self.dir.join("journal");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let mut fields = text.split_terminator('\u{1f}').map(str::to_owned);
        let mut calls = Vec::new();
        while let Some(program) = fields.next() {
            let env = fields.next().context("a call that ends in the middle")?;
            let env = env.lines().filter_map(|line| line.split_once('='));
            let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let count = fields.next().context("a call that ends in the middle")?;
            let args = fields.by_ref().take(count.parse().context("a call without a count")?).collect();
            calls.push(Call { program, args, env });
        }
        Ok(calls)
    }

    /// The arguments of all calls of `program` until now, those of each joined by blanks.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn calls_of(&self, program: &str) -> Result<Vec<String>> {
        let calls = self.calls()?.into_iter().filter(|call| call.program == program);
        Ok(calls.map(|call| call.args.join(" ")).collect())
    }

    /// Forgets all calls until now.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn forget_calls(&self) -> Result<()> {
        self.write("journal", "")
    }

    /// Gives the engine (`podman` or `docker`) an image.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn image(&self, engine: &str, reference: &str, labels: &[(&str, &str)]) -> Result<()> {
        let id = self.new_id(engine)?;
        self.write(&format!("{engine}/images/{id}/labels"), &lines(labels))?;
        self.write(&format!("{engine}/tags/{reference}"), &id)
    }

    /// Gives the engine a container of that name; `status` as the engine's `inspect` tells it: running, exited, ….
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn container(&self, engine: &str, name: &str, status: &str, labels: &[(&str, &str)]) -> Result<()> {
        let folder = format!("{engine}/containers/{name}");
        for (file, text) in [("id", self.new_id(engine)?), ("image", String::new()), ("status", status.to_owned())] {
            self.write(&format!("{folder}/{file}"), &text)?;
        }
        self.write(&format!("{folder}/labels"), &lines(labels))
    }

    /// The names of the engine's containers.
    pub fn containers(&self, engine: &str) -> Vec<String> {
        names(&self.dir.join(engine).join("containers"))
    }

    /// The names of the engine's networks.
    pub fn networks(&self, engine: &str) -> Vec<String> {
        names(&self.dir.join(engine).join("networks"))
    }

    /// Whether the engine has an image of that name, tag included.
    pub fn has_image(&self, engine: &str, reference: &str) -> bool {
        self.dir.join(engine).join("tags").join(reference).is_file()
    }

    fn new_id(&self, engine: &str) -> Result<String> {
        let folder = self.dir.join(engine).join("ids");
        let free = (1..).find(|number: &u32| fs::create_dir(folder.join(number.to_string())).is_ok());
        Ok(format!("{:064x}", free.context("no number is free")?))
    }

    /// Writes a file whole: programs that run read them.
    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.dir.join(name);
        let new = Utf8PathBuf::from(format!("{path}.new"));
        let write = || {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(&new, text)?;
            fs::rename(&new, &path)
        };
        write().with_context(|| format!("writing {path}"))
    }
}

fn names(folder: &Utf8Path) -> Vec<String> {
    let entries = folder.read_dir_utf8().into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_owned()).collect();
    names.sort();
    names
}

fn lines(labels: &[(&str, &str)]) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A pattern of `case`, in which all but `*`, `?` and `|` stands for itself.
fn escaped(pattern: &str) -> String {
    if pattern.is_empty() {
        return "''".to_owned();
    }
    let mut out = String::new();
    for c in pattern.chars() {
        if !(c.is_ascii_alphanumeric() || "*?|-_".contains(c)) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
