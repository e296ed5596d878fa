//! Waiting for what manifests start.

use std::ops::ControlFlow;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use e2e_support::clock::Instant;
use e2e_support::{Cancel, Job, Meter};
use serde_json::Value;
use xshell::Shell;

use super::deploy::PAUSE;
use super::refused::Unchangeable;
use super::rollout::{self, Question, Rollout, Verdict};
use crate::plan::ObjectRef;
use crate::target::session::Running;

/// How often it is looked whether something has been so for too long.
const LOOK: Duration = Duration::from_millis(100);

/// What a watch follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    Workload,
    Pods,
}

/// What a watch has to say.
enum Heard {
    Event(Value),
    /// It has ended, and why where it did not end well.
    Ended(Option<String>),
}

/// How a workload was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Ready,
    /// A job or a bare pod that had failed before this run.
    Failed,
}

impl Running<'_> {
    /// Waits until a workload is rolled out, and fails as soon as it is plain that it never will be.
    pub(super) fn ready(&self, group: &str, workload: &ObjectRef) -> Result<()> {
        let doing = || format!("waiting for {workload}");
        if self.roll_out(workload).with_context(doing)? == Found::Ready {
            return Ok(());
        }
        // What it failed for may be mended by now; its own manifest need not have changed for that.
        let manifests = &self.session.manifests;
        let object = manifests.all().find(|object| object.reference == *workload).with_context(doing)?;
        let why = "it failed before this run".to_owned();
        let refusal =
            Unchangeable { kind: workload.kind.clone(), name: workload.name.clone(), field: "end".into(), why };
        self.replace(&[(object, refusal)])?;
        self.apply(group)?;
        match self.roll_out(workload).with_context(doing)? {
            Found::Ready => Ok(()),
            Found::Failed => bail!("{}: it failed, again", doing()),
        }
    }

    fn roll_out(&self, workload: &ObjectRef) -> Result<Found> {
        let paths = rollout::paths(workload)?;
        self.context.asks_for("a watch that has ended", PAUSE);
        let stop = self.cancel.child();
        let (sender, receiver) = mpsc::channel();
        std::thread::scope(|scope| {
            for (source, path) in [(Watched::Workload, paths.workload), (Watched::Pods, paths.pods)] {
                let (sender, stop, meter) = (sender.clone(), stop.clone(), Meter::here());
                scope.spawn(move || meter.run(|| self.watch(source, &path, &sender, &stop)));
            }
            drop(sender);
            let result = self.judge(workload, &receiver);
            stop.cancel("the rollout is decided");
            result
        })
    }

    /// Follows the API server's watch of one object or list, again and again, until told to stop.
    fn watch(&self, source: Watched, path: &str, sender: &mpsc::Sender<(Watched, Heard)>, stop: &Cancel) {
        let kubectl = self.session.kubectl();
        loop {
            let Ok(sh) = Shell::new() else { return };
            let watch = kubectl.cmd(&sh).args(["get", "--raw", path]);
            let ended = Job::new(watch).deadline(self.left()).log(self.log).cancel(stop).lines(|line| {
                match serde_json::from_str(line).map(|event| sender.send((source, Heard::Event(event)))) {
                    Ok(Err(_)) => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                }
            });
            // It is taken up again however it ended; where it never works, the judge says so at the end.
            let why = ended.err().map(|error| error.to_string().lines().next().unwrap_or_default().to_owned());
            let heard = sender.send((source, Heard::Ended(why)));
            if heard.is_err() || stop.sleep(PAUSE) || self.left().is_zero() {
                return;
            }
        }
    }

    fn judge(&self, workload: &ObjectRef, events: &mpsc::Receiver<(Watched, Heard)>) -> Result<Found> {
        let accounts = |name: &str| {
            let account = |object: &ObjectRef| {
                object.kind == "ServiceAccount" && object.namespace == workload.namespace && object.name == name
            };
            self.session.manifests.all().any(|object| account(&object.reference))
        };
        let mut rollout = Rollout::new(workload, self.session.target.was_there(), SystemTime::now());
        // How each watch ended last, until it says something again.
        let mut silent: Vec<(Watched, String)> = Vec::new();
        let watching = |silent: &[(Watched, String)]| -> String {
            silent.iter().map(|(source, why)| format!("; the watch of its {}: {why}", source.name())).collect()
        };
        loop {
            match events.recv_timeout(LOOK) {
                Ok((source, Heard::Event(event))) => {
                    if event["type"] == "ERROR" {
                        let why = event["object"]["message"].as_str().unwrap_or("an error without a message");
                        silent.retain(|(other, _)| *other != source);
                        silent.push((source, why.to_owned()));
                        continue;
                    }
                    silent.retain(|(other, _)| *other != source);
                    if source == Watched::Pods {
                        rollout.pod(&event, Instant::now());
                    } else if let Some(found) = self.heard(&mut rollout, &event)? {
                        return Ok(found);
                    }
                }
                Ok((source, Heard::Ended(why))) => {
                    self.target_must_run()?;
                    if let Some(why) = why {
                        silent.retain(|(other, _)| *other != source);
                        silent.push((source, why));
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    bail!("the watches ended; {}{}", rollout.state(), watching(&silent))
                }
            }
            match rollout.verdict(Instant::now(), accounts) {
                Verdict::Open => {}
                Verdict::Hopeless(why) => bail!("{why}; {}", rollout.state()),
                Verdict::Ask(question) => self.ask(&mut rollout, workload, question),
                Verdict::Restart { pod, uid, why } => {
                    self.progress(format!("pod {pod} gets a new start: {why}"));
                    // Where it has gone meanwhile nothing is left to do; else its state is told at the end.
                    let _ = self.session.kubectl().delete_pod(&workload.namespace, &pod, &uid, self.log, self.cancel);
                }
            }
            if let Some(reason) = self.cancel.reason() {
                bail!("stopped ({reason}); {}{}", rollout.state(), rollout.waiting());
            }
            if self.left().is_zero() {
                bail!("not ready; {}{}{}", rollout.state(), rollout.waiting(), watching(&silent));
            }
        }
    }

    fn heard(&self, rollout: &mut Rollout, event: &Value) -> Result<Option<Found>> {
        let before = rollout.state().to_owned();
        match rollout.workload(event, Instant::now())? {
            rollout::Progress::Done => return Ok(Some(Found::Ready)),
            rollout::Progress::FailedBefore => return Ok(Some(Found::Failed)),
            rollout::Progress::UnderWay => {}
        }
        if rollout.state() != before {
            self.progress(rollout.state());
        }
        Ok(None)
    }

    /// Asks the API server what no watch tells. Where it does not answer it is asked again later.
    fn ask(&self, rollout: &mut Rollout, workload: &ObjectRef, question: Question) {
        let kubectl = self.session.kubectl();
        let list = |words: &[&str]| -> Option<Value> {
            let words = [&["--namespace", &workload.namespace, "get"], words, &["--output", "json"]].concat();
            serde_json::from_str(&kubectl.read(&words).ok()?).ok()
        };
        match question {
            Question::Revisions(kind) => {
                if let Some(revisions) = list(&[kind]) {
                    rollout.revisions(&revisions);
                }
            }
            Question::EventsOf(uid) => {
                let of_object = format!("type=Warning,involvedObject.uid={uid}");
                if let Some(events) = list(&["events", "--field-selector", &of_object]) {
                    rollout.events(&uid, &events, Instant::now());
                }
            }
        }
    }
}

impl Watched {
    fn name(self) -> &'static str {
        match self {
            Watched::Workload => "object",
            Watched::Pods => "pods",
        }
    }
}
