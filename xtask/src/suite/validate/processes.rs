//! The section of processes: names that nothing has, files without a source, placeholders that stand for nothing.

use super::{Check, Segment};
use crate::at;
use crate::suite::Suite;
use crate::suite::processes::{Piece, Process, Processes};

impl Check<'_> {
    pub(super) fn processes(&mut self, suite: &Suite) {
        let Some(processes) = &suite.processes else { return };
        for (index, process) in processes.workloads.iter().enumerate() {
            let at = |rest: &[Segment]| [&at!["processes", "workloads", index][..], rest].concat();
            self.program(suite, processes, process, &at);
            self.process_files(process, &at);
            let named = process.ports.iter().enumerate();
            self.unique("port", named.map(|(i, port)| (at(&at!["ports", i, "name"]), port.name.as_str())));
            let ports = process.ports.iter().map(|port| port.name.as_str());
            self.known(&at(&at!["ready", "port"]), "port", &process.ready.port, ports.clone());
            if let Some(path) = process.ready.http.as_deref().filter(|path| !path.starts_with('/')) {
                let hint = Some(format!("write `/{path}`"));
                self.add(&at(&at!["ready", "http"]), format!("`{path}` does not begin with a slash"), hint);
            }
            for (place, text) in process.texts() {
                match Piece::of(text) {
                    Err(message) => self.add(&at(&place), message, None),
                    Ok(pieces) => pieces.iter().for_each(|piece| self.piece(processes, process, piece, &at(&place))),
                }
            }
        }
        let workloads = processes.workloads.iter().enumerate();
        let places = workloads
            .map(|(i, process)| (at!["processes", "workloads", i, "workload"].to_vec(), process.workload.as_str()));
        self.unique("workload", places);
        let node_ports: Vec<(Vec<Segment>, String)> = processes
            .workloads
            .iter()
            .enumerate()
            .flat_map(|(i, process)| {
                process.ports.iter().enumerate().filter_map(move |(j, port)| {
                    let place = at!["processes", "workloads", i, "ports", j, "node_port"].to_vec();
                    Some((place, port.node_port?.to_string()))
                })
            })
            .collect();
        self.unique("NodePort", node_ports.iter().map(|(place, port)| (place.clone(), port.as_str())));
    }

    fn program(
        &mut self,
        suite: &Suite,
        processes: &Processes,
        process: &Process,
        at: &impl Fn(&[Segment]) -> Vec<Segment>,
    ) {
        let programs = processes.programs.keys().map(String::as_str);
        match (&process.package, &process.program) {
            (Some(package), None) => {
                let packages: &[String] = suite.build.as_ref().map_or(&[], |build| &build.packages);
                let packages = packages.iter().map(String::as_str);
                self.known(&at(&at!["package"]), "package in `build.packages`", package, packages);
            }
            (None, Some(program)) => {
                self.known(&at(&at!["program"]), "program in `processes.programs`", program, programs.clone());
            }
            (package, _) => {
                let what = if package.is_some() { "both a package and a program" } else { "no program" };
                let hint = "name one of `package` and `program`".to_owned();
                self.add(&at(&at!["workload"]), format!("`{}` has {what}", process.workload), Some(hint));
            }
        }
        for (index, preparation) in process.prepare.iter().enumerate() {
            let place = at(&at!["prepare", index, "program"]);
            self.known(&place, "program in `processes.programs`", &preparation.program, programs.clone());
        }
    }

    fn process_files(&mut self, process: &Process, at: &impl Fn(&[Segment]) -> Vec<Segment>) {
        for (index, file) in process.files.iter().enumerate() {
            let place = at(&at!["files", index, "path"]);
            let sources =
                [file.content.is_some(), file.config_map.is_some(), file.secret.is_some(), file.file.is_some()];
            if sources.iter().filter(|is_there| **is_there).count() != 1 {
                let hint = "name one of `content`, `config_map`, `secret` and `file`".to_owned();
                self.add(&place, format!("nothing tells what is in `{}`, or several do", file.path), Some(hint));
            }
            let is_keyed = file.config_map.is_some() || file.secret.is_some();
            if is_keyed != file.key.is_some() {
                let hint = "a ConfigMap or Secret is named together with a `key`".to_owned();
                self.add(&place, format!("`{}` is not told from which key", file.path), Some(hint));
            }
            self.within(&place, &file.path, "the instance's folder");
            if let Some(from) = &file.file {
                self.within(&at(&at!["files", index, "file"]), from, "the workspace");
            }
        }
        let paths = process.files.iter().enumerate();
        self.unique("file", paths.map(|(i, file)| (at(&at!["files", i, "path"]), file.path.as_str())));
    }

    fn piece(&mut self, processes: &Processes, process: &Process, piece: &Piece, place: &[Segment]) {
        let ports = |process: &Process| -> Vec<String> { process.ports.iter().map(|port| port.name.clone()).collect() };
        match piece {
            Piece::Port(name) => {
                self.known(place, "port", name, ports(process).iter().map(String::as_str));
            }
            Piece::Address { workload, port } => {
                let workloads = processes.workloads.iter().map(|process| process.workload.as_str());
                self.known(place, "workload in `processes.workloads`", workload, workloads);
                if let Some(other) = processes.process(workload) {
                    self.known(place, &format!("port of {workload}"), port, ports(other).iter().map(String::as_str));
                }
            }
            Piece::Text(_) | Piece::Folder | Piece::Data | Piece::Name | Piece::Kubeconfig | Piece::Token(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::suite::Suite;
    use crate::suite::yaml::Source;

    const WHOLE: &str = "\
name: one
phases: [ground]
cluster: {name: c, config: kind.yaml, node: node, phase: ground}
build: {packages: [app]}
processes:
  programs: {db: {debian: database, folders: ['/usr/lib/db/*/bin']}, initdb: {debian: database}}
  workloads:
    - workload: db
      program: db
      args: ['--port={port:db}', '--dir', '{data}/x']
      prepare: [{program: initdb, args: ['{data}'], stdin: 'CREATE {{}}'}]
      ports: [{name: db}]
      ready: {port: db}
      stop: INT
      user: db
    - workload: app
      package: app
      env: {DB: '{address:db.db}', KUBECONFIG: '{kubeconfig}'}
      files:
        - {path: c.yaml, config_map: app, key: c.yaml, replace: {/etc/app: '{folder}'}}
        - {path: rules/a, file: a}
      ports: [{name: http, node_port: 30080}]
      ready: {port: http, http: /readyz}
";

    fn problems(text: &str) -> Vec<String> {
        match Suite::parse(Source::new("s.yaml", text)) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.0.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_whole_section_is_taken() {
        assert_eq!(problems(WHOLE), [""; 0]);
    }

    #[test]
    fn each_mistake_is_told_with_line_and_nearest_name() {
        for (from, to, line, expected) in [
            ("program: db\n", "program: bd\n", 9, "no program in `processes.programs` of the name `bd`"),
            ("program: db\n", "program: db\n      package: app\n", 8, "`db` has both a package and a program"),
            ("package: app\n", "package: ap\n", 17, "no package in `build.packages` of the name `ap`"),
            ("      package: app\n", "", 16, "`app` has no program"),
            ("'--port={port:db}'", "'--port={port:dv}'", 10, "no port of the name `dv` (did you mean `db`?)"),
            ("'{data}/x'", "'{date}/x'", 10, "no placeholder `{date}`"),
            ("{program: initdb,", "{program: initbd,", 11, "`initbd` (did you mean `initdb`?)"),
            ("'{address:db.db}'", "'{address:db.sql}'", 18, "no port of db of the name `sql`"),
            ("'{address:db.db}'", "'{address:bd.db}'", 18, "no workload in `processes.workloads` of the name `bd`"),
            ("stop: INT", "stop: HUP", 14, "unknown variant `HUP`"),
            (", key: c.yaml", "", 20, "`c.yaml` is not told from which key"),
            ("file: a}", "file: a, content: b}", 21, "nothing tells what is in `rules/a`, or several do"),
            ("path: rules/a", "path: ../a", 21, "`../a` does not stay within the instance's folder"),
            ("file: a}", "file: /a}", 21, "`/a` does not stay within the workspace"),
            ("path: rules/a", "path: c.yaml", 21, "file `c.yaml` stands here a second time"),
            ("{port: http, http: /readyz}", "{port: htp}", 23, "no port of the name `htp`"),
            ("http: /readyz", "http: readyz", 23, "`readyz` does not begin with a slash"),
            ("[{name: db}]", "[{name: db, node_port: 30080}]", 22, "NodePort `30080` stands here a second time"),
            ("workload: app", "workload: db", 16, "workload `db` stands here a second time"),
        ] {
            assert_eq!(WHOLE.matches(from).count(), 1, "{from}");
            let found = problems(&WHOLE.replacen(from, to, 1));
            let first = found.first().unwrap_or_else(|| panic!("{to}: nothing was found"));
            assert!(first.starts_with(&format!("s.yaml:{line}:")) && first.contains(expected), "{to}: {found:?}");
        }
    }
}
