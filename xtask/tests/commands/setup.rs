use anyhow::{Context, Result};
use testbed::fakes::Play;
use xtask::setup::host::Host;

use crate::support::{Stage, dead_docker, dead_podman};

/// Makes the two programs, and the node image as its engine would.
const RECIPE: &str = r#"
set -eu
if [ -n "${E2E_TAG:-}" ]; then exec "$E2E_ENGINE" build --tag "$E2E_TAG" --label "$E2E_LABEL" .; fi
mkdir -p "$E2E_OUT/bin"
echo made >"$E2E_OUT/bin/made"
"#;

/// A machine of Debian's kin: packages are files in a folder.
fn debian(stage: &Stage) -> Result<()> {
    stage.fake.on("dpkg-query", "*", Play::script(DPKG_QUERY))?;
    stage.fake.on("dpkg", "*", Play::says(""))?;
    stage.fake.on("apt-get", "update *", Play::says(""))?;
    stage.fake.on("apt-get", "install *", Play::script(APT_INSTALL))?;
    stage.fake.on("sudo", "--validate", Play::says(""))?;
    stage.fake.on("sudo", "--non-interactive *", Play::script("shift\nPATH=$home/bin:$PATH\nexec \"$@\""))?;
    Ok(())
}
const DPKG_QUERY: &str = r#"
shift 3
code=0
for package in "$@"; do if [ -e "$home/installed-$package" ]; then echo "ii  $package"; else code=1; fi; done
exit "$code"
"#;
/// podman comes with its package.
const APT_INSTALL: &str = r#"
for word in "$@"; do case $word in podman) : >"$home/installed-podman"; mv "$home/absent" "$home/bin/podman" ;; esac; done
"#;
fn without_podman(stage: &Stage) -> Result<()> {
    stage.fake.remove("docker")?;
    Ok(std::fs::rename(stage.fake.program("podman"), stage.fake.dir().join("absent"))?)
}

#[test]
fn what_is_there_needs_nothing() -> Result<()> {
    let stage = Stage::new()?;
    stage.xtask(&["setup", "shop"])?.must(0, &["podman 4.3.1; everything that shop needs is there"]);
    stage.xtask(&["setup", "shop", "--check"])?.must(0, &["everything that shop needs is there"]);
    assert_eq!(stage.changes()?, [""; 0]);
    Ok(())
}

#[test]
fn without_a_terminal_it_lists_and_changes_nothing() -> Result<()> {
    let stage = Stage::bare()?;
    debian(&stage)?;
    stage.write("recipe.sh", RECIPE)?;
    let words = ["the kind program", "the kubectl program", "a node", "nothing was changed", "--yes"];
    stage.xtask(&["setup", "shop"])?.must(1, &words);
    stage.xtask(&["setup", "shop", "--check"])?.must(1, &["missing:", "the kind program"]);
    assert_eq!(stage.changes()?, [""; 0]);
    assert!(!stage.piece("kind")?.exists());
    Ok(())
}

#[test]
fn with_a_yes_each_piece_is_made_once() -> Result<()> {
    let stage = Stage::bare()?;
    debian(&stage)?;
    stage.write("recipe.sh", RECIPE)?;
    stage.xtask(&["setup", "shop", "--yes"])?.must(0, &["set-up: kind: done", "everything that shop needs is there"]);
    assert!(stage.piece("kind")?.join("bin/made").is_file() && stage.piece("kubectl")?.join("bin/made").is_file());
    assert!(stage.fake.has_image("podman", "localhost/node:1"));
    stage.fake.forget_calls()?;
    stage.xtask(&["setup", "shop", "--yes"])?.must(0, &["everything that shop needs is there"]);
    assert_eq!(stage.changes()?, [""; 0]);
    Ok(())
}

#[test]
fn a_recipe_that_fails_is_told_with_its_last_words_and_leaves_nothing() -> Result<()> {
    let stage = Stage::bare()?;
    debian(&stage)?;
    stage.write("recipe.sh", "echo no space left on device >&2\nexit 7\n")?;
    let ran = stage.xtask(&["setup", "shop", "--yes"])?;
    ran.must(1, &["by recipe.sh", "no space left on device", "exit code 7"]);
    assert!(!stage.piece("kind")?.exists());
    Ok(())
}

#[test]
fn an_image_recipe_that_tags_nothing_has_failed() -> Result<()> {
    let stage = Stage::bare()?;
    debian(&stage)?;
    stage.write("recipe.sh", "[ -n \"${E2E_TAG:-}\" ] || mkdir -p \"$E2E_OUT/bin\"\n")?;
    stage.xtask(&["setup", "shop", "--yes"])?.must(1, &["the recipe ended well, but no image has the label"]);
    Ok(())
}

#[test]
fn an_engine_is_installed_where_there_is_none() -> Result<()> {
    let stage = Stage::new()?;
    debian(&stage)?;
    without_podman(&stage)?;
    stage.xtask(&["setup", "shop"])?.must(1, &["install podman", "apt-get install podman", "nothing was changed"]);
    let words = ["installing 1 Debian packages", "everything that shop needs is there"];
    stage.xtask(&["setup", "shop", "--yes"])?.must(0, &words);
    let install = stage.fake.calls_of("apt-get")?;
    assert!(install.iter().any(|call| call.starts_with("install --yes") && call.ends_with(" podman")), "{install:?}");
    Ok(())
}

#[test]
fn an_apt_that_fails_is_told_and_is_finished_the_next_time() -> Result<()> {
    let stage = Stage::new()?;
    debian(&stage)?;
    without_podman(&stage)?;
    let said = "E: Failed to fetch http://deb.debian.org/podman.deb  404  Not Found";
    stage.fake.on("apt-get", "install *", Play::fails(100, said).times(1))?;
    stage.xtask(&["setup", "shop", "--yes"])?.must(1, &["installing the Debian packages podman", "404  Not Found"]);
    stage.xtask(&["setup", "shop"])?.must(1, &["an installation was stopped half-way"]);
    stage.xtask(&["setup", "shop", "--yes"])?.must(0, &["everything that shop needs is there"]);
    assert!(stage.fake.calls_of("dpkg")?.iter().all(|call| call == "--configure -a"));
    Ok(())
}

#[test]
fn without_apt_and_engine_it_says_how_to_get_one() -> Result<()> {
    let stage = Stage::new()?;
    stage.fake.remove("podman")?;
    stage.fake.remove("docker")?;
    let words = ["this machine cannot be set up", "podman: not on PATH", "docker: not on PATH", "get one:"];
    stage.xtask(&["setup", "shop", "--yes"])?.must(1, &words);
    dead_podman(&stage)?;
    dead_docker(&stage)?;
    let words =
        ["this machine cannot be set up", "unable to connect to Podman socket", "Is the docker daemon running?"];
    stage.xtask(&["setup", "shop", "--yes"])?.must(1, &words);
    Ok(())
}

#[test]
fn docker_is_taken_where_podman_does_not_answer() -> Result<()> {
    let stage = Stage::new()?;
    dead_podman(&stage)?;
    stage.put_image("docker", "node")?;
    stage.xtask(&["setup", "shop", "--yes"])?.must(0, &["docker 26.1.5; everything that shop needs is there"]);
    // A choice is kept to.
    stage.xtask(&["setup", "shop", "--yes", "--engine", "podman"])?.must(1, &["unable to connect to Podman socket"]);
    Ok(())
}

#[test]
fn without_root_packages_are_installed_with_sudo_which_may_ask() -> Result<()> {
    let stage = Stage::new()?;
    debian(&stage)?;
    without_podman(&stage)?;
    let Some(ran) = stage.xtask_without_root(&["setup", "shop", "--yes"])? else {
        eprintln!("not tried: another user cannot read this checkout");
        return Ok(());
    };
    ran.must(0, &["installing 1 Debian packages", "everything that shop needs is there"]);
    let calls = stage.fake.calls_of("sudo")?;
    let install = "--non-interactive env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install --yes";
    assert!(calls[0] == "--validate" && calls.iter().any(|call| call.starts_with(install)), "{calls:?}");
    // Who may not is told, and nothing has changed.
    let stage = Stage::new()?;
    debian(&stage)?;
    without_podman(&stage)?;
    stage.fake.on("sudo", "--validate", Play::fails(1, "nobody is not in the sudoers file."))?;
    let ran = stage.xtask_without_root(&["setup", "shop", "--yes"])?.context("it could be read just now")?;
    ran.must(1, &["installing the Debian packages podman", "nobody is not in the sudoers file"]);
    assert_eq!(stage.fake.calls_of("apt-get")?, [""; 0]);
    Ok(())
}

#[test]
fn docker_without_buildx_is_told_before_anything_is_built() -> Result<()> {
    let stage = Stage::new()?;
    stage.fake.remove("podman")?;
    stage.put_image("docker", "node")?;
    stage.fake.on("docker", "buildx *", Play::fails(1, "docker: 'buildx' is not a docker command."))?;
    let words = ["this machine cannot be set up", "docker has no buildx", "apt-get install docker-buildx"];
    stage.xtask(&["setup", "shop", "--yes"])?.must(1, &words);
    Ok(())
}

#[test]
fn podman_without_root_that_can_run_no_node_gives_way_to_docker() -> Result<()> {
    let stage = Stage::new()?;
    stage.put_image("docker", "node")?;
    let said = r#"{"host": {"security": {"rootless": true}, "cgroupVersion": "v1"}}"#;
    stage.fake.on("podman", "info --format json", Play::says(said))?;
    let Some(ran) = stage.xtask_without_root(&["setup", "shop", "--yes"])? else {
        eprintln!("not tried: another user cannot read this checkout");
        return Ok(());
    };
    ran.must(0, &["docker 26.1.5; everything that shop needs is there"]);
    stage.fake.remove("docker")?;
    let ran = stage.xtask_without_root(&["setup", "shop", "--yes"])?.context("it could be read just now")?;
    ran.must(1, &["podman without root runs no cluster on cgroup v1"]);
    Ok(())
}

#[test]
fn a_mirror_that_docker_says_nothing_of_is_named_where_a_pull_fails() -> Result<()> {
    let stage = Stage::bare()?;
    debian(&stage)?;
    stage.fake.remove("podman")?;
    let catalog = std::fs::read_to_string(stage.paths.root.join("images/setup.yaml"))?;
    stage.write("images/setup.yaml", &catalog.replace("localhost/node:1", "docker.io/shop/node:1"))?;
    stage.write("recipe.sh", RECIPE)?;
    let mirror = "http://mirror.example:5000/";
    stage.fake.on("docker", "info --format {{len *", Play::says("1"))?;
    stage.fake.on("docker", "info --format {{join *", Play::says(mirror))?;
    let line = format!("no such host; the daemon's mirror {mirror} has not given it either: its log says why");
    stage.xtask(&["setup", "shop", "--yes"])?.must(0, &[&line, "everything that shop needs is there"]);
    Ok(())
}

/// A zip that holds the file `bin/kubectl`, which is not executable, with the text `inside`; in octal.
const ZIP: &str = "\\120\\113\\003\\004\\024\\000\\000\\000\\000\\000\\000\\000\\041\\000\\364\\217\\141\\376\\007\\000\\000\\000\\007\\000\\000\\000\\013\\000\\000\\000\
\\142\\151\\156\\057\\153\\165\\142\\145\\143\\164\\154\\151\\156\\163\\151\\144\\145\\012\\120\\113\\001\\002\\024\\003\\024\\000\\000\\000\\000\\000\\000\\000\\041\\000\
\\364\\217\\141\\376\\007\\000\\000\\000\\007\\000\\000\\000\\013\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\244\\201\\000\\000\\000\\000\\142\\151\\156\\057\
\\153\\165\\142\\145\\143\\164\\154\\120\\113\\005\\006\\000\\000\\000\\000\\001\\000\\001\\000\\071\\000\\000\\000\\060\\000\\000\\000\\000\\000";
const ZIP_SHA256: &str = "455666dd71b3cc28f9f7c85e4718b8f8688944537f38c2815e7d00b6863036d8";

/// A machine that lacks kubectl, which is published as a wheel and nobody makes from packages.
fn without_wheel() -> Result<Stage> {
    let stage = Stage::new()?;
    let host = Host::look();
    let machine = format!("{}-{}", host.os.replace("macos", "darwin"), host.arch);
    let text = format!(
        "
versions: {{ tool: 1.2.3 }}
engine_packages: [podman]
pieces:
  - {{ name: kind, kind: files, about: the kind program, recipe: recipe.sh }}
  - name: kubectl
    kind: files
    about: the kubectl program
    versions: [tool]
    download:
      url: https://files.example/{{file}}
      file: {{ {machine}: a/b/tool-1.2.3.whl }}
      sha256: {{ {machine}: {ZIP_SHA256} }}
      pip: tool=={{tool}}
      unzip: true
      to: bin/kubectl
  - {{ name: node, kind: image, about: a node, recipe: recipe.sh, replaces: 'localhost/node:1' }}
"
    );
    stage.write("images/setup.yaml", &text)?;
    stage.fake.tool("unzip")?;
    Ok(stage)
}

/// Writes the zip, or something else, into the file or folder that follows the word.
fn brings(word: &str, file: &str, octal: &str) -> Play {
    Play::script(format!(
        "for last; do [ \"$before\" != {word} ] || printf '{octal}' >\"$last{file}\"; before=$last; done"
    ))
}

fn is_unpacked(stage: &Stage) -> Result<()> {
    let program = stage.piece("kubectl")?.join("bin/kubectl");
    assert_eq!(std::fs::read_to_string(&program)?, "inside\n");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&program.metadata()?.permissions()) & 0o777, 0o755);
    Ok(())
}

#[test]
fn a_wheel_is_got_by_pip_where_it_is_there_and_only_with_its_checksum() -> Result<()> {
    let stage = without_wheel()?;
    stage.fake.on("pip3", "download *", brings("--dest", "/tool-1.2.3-any.whl", ZIP))?;
    stage.fake.on("curl", "*", Play::fails(6, "curl: (6) Could not resolve host: files.example"))?;
    stage.xtask(&["setup", "shop", "--yes"])?.must(0, &["kubectl: done", "everything that shop needs is there"]);
    is_unpacked(&stage)?;
    let calls = stage.fake.calls_of("pip3")?;
    let words = ["--no-deps", "--require-hashes", "--no-cache-dir"];
    assert!(calls.len() == 1 && words.iter().all(|word| calls[0].contains(word)), "{calls:?}");
    assert_eq!(stage.fake.calls_of("curl")?, [""; 0], "nobody else is asked");
    // What pip has in its place is no more trusted than what anybody else has.
    let stage = without_wheel()?;
    stage.fake.on("pip3", "download *", brings("--dest", "/tool-1.2.3-any.whl", "evil"))?;
    stage.xtask(&["setup", "shop", "--yes"])?.must(1, &["the SHA-256 of what came is", ZIP_SHA256]);
    assert!(!stage.piece("kubectl")?.exists());
    Ok(())
}

#[test]
fn a_wheel_that_pip_does_not_get_is_downloaded() -> Result<()> {
    for pip in [Some(Play::fails(1, "ERROR: No matching distribution found for tool==1.2.3")), None] {
        let stage = without_wheel()?;
        if let Some(play) = pip {
            stage.fake.on("pip3", "*", play)?;
        }
        stage.fake.on("curl", "*", brings("--output", "", ZIP))?;
        stage.fake.on("curl", "*--head*", Play::default())?;
        stage.xtask(&["setup", "shop", "--yes"])?.must(0, &["kubectl: done", "everything that shop needs is there"]);
        is_unpacked(&stage)?;
        assert!(
            stage.fake.calls_of("curl")?.iter().any(|call| call.ends_with("https://files.example/a/b/tool-1.2.3.whl"))
        );
    }
    Ok(())
}

#[test]
fn a_wheel_that_is_not_to_be_had_is_told_with_what_a_person_can_do() -> Result<()> {
    let stage = without_wheel()?;
    stage.fake.on("curl", "*", Play::fails(6, "curl: (6) Could not resolve host: files.example"))?;
    let words =
        ["kubectl cannot be had", "Could not resolve host", "only its publisher makes it", "unpack it as a zip"];
    stage.xtask(&["setup", "shop", "--yes"])?.must(1, &words);
    // On Debian the program that unpacks comes with a package.
    let stage = without_wheel()?;
    debian(&stage)?;
    std::fs::remove_file(stage.fake.dir().join("tools/unzip"))?;
    stage.fake.on("pip3", "*", Play::fails(1, "no"))?;
    stage.xtask(&["setup", "shop", "--check"])?.must(1, &["for downloads", "apt-get install unzip"]);
    Ok(())
}

#[test]
fn processes_need_no_engine_and_no_node() -> Result<()> {
    let stage = Stage::bare()?;
    debian(&stage)?;
    let root = stage.paths.root.clone();
    let read = |file: &str| std::fs::read_to_string(root.join(file));
    let piece = "  - { name: control-plane, kind: files, about: an API server, recipe: control-plane.sh }\n";
    stage.write("images/setup.yaml", &(read("images/setup.yaml")? + piece))?;
    stage.write("control-plane.sh", RECIPE)?;
    let processes = |program: &str| {
        format!(
            "processes: {{programs: {{{program}: {{debian: the-package}}}}, workloads: [{{workload: db, program: \
             {program}, ports: [{{name: sql}}], ready: {{port: sql}}}}]}}\n"
        )
    };
    let suite = read("manifests/suites/shop.yaml")?;
    for engine in ["podman", "docker"] {
        stage.fake.remove(engine)?;
    }
    let check = ["setup", "shop", "--on", "processes", "--check"];
    stage.write("manifests/suites/shop.yaml", &(suite.clone() + &processes("no-such-database")))?;
    let ran = stage.xtask(&check)?;
    ran.must(1, &["missing:", "an API server", "the-package"]);
    assert!(!ran.text.contains("kind") && !ran.text.contains("podman"), "{}", ran.text);
    stage.write("manifests/suites/shop.yaml", &(suite + &processes("sh")))?;
    stage
        .xtask(&["setup", "shop", "--on", "processes", "--yes"])?
        .must(0, &["control-plane: done", "everything that shop needs is there"]);
    stage.xtask(&check)?.must(0, &["everything that shop needs is there"]);
    assert!(stage.piece("control-plane")?.join("bin/made").is_file() && !stage.piece("kind")?.exists());
    Ok(())
}
