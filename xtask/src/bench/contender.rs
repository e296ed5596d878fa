//! Who takes part in a comparison.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::plan::{Schedule, StepId};

/// An order of steps, as on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// One after the other
    Sequential,
    /// The cluster; then all images; then the rest one by one
    Phased,
    /// All images; then the cluster; then everything else
    Hybrid,
    /// Everything as soon as what it reads is there
    Dag,
    /// As a shell script commonly does it: builds in containers, archives, `kubectl wait`, default probes
    Script,
}

impl Order {
    /// The schedule; none where it is a script.
    pub fn schedule(self) -> Option<Schedule> {
        match self {
            Self::Sequential => Some(Schedule::Sequential),
            Self::Phased => Some(Schedule::Phased),
            Self::Hybrid => Some(Schedule::Hybrid),
            Self::Dag => Some(Schedule::Dag),
            Self::Script => None,
        }
    }

    /// As on the command line.
    pub fn name(self) -> &'static str {
        self.schedule().map_or("script", Schedule::name)
    }
}

/// A step that is slowed on purpose, to see whether it is found: `STEP=SECONDS`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slowed {
    /// Which step.
    pub step: StepId,
    /// How long it sleeps before its work, in seconds.
    pub seconds: f64,
}

impl FromStr for Slowed {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (step, seconds) = text.rsplit_once('=').context("write STEP=SECONDS, as in image:app=3")?;
        let seconds: f64 = seconds.parse().with_context(|| format!("{seconds:?} is no number of seconds"))?;
        ensure!(seconds > 0.0 && seconds <= 3600.0, "{seconds} s is not above 0 and at most an hour");
        Ok(Self { step: StepId::new(step), seconds })
    }
}

/// One that takes part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contender {
    /// Unique among those that take part.
    pub name: String,
    /// How its steps are ordered.
    pub order: Order,
    /// What is slowed in it on purpose.
    pub slowed: Option<Slowed>,
    /// The contender that it is a copy of; none for one that stands for itself.
    pub copy_of: Option<String>,
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

impl Contender {
    /// Its name, fit for a folder.
    pub fn file_stem(&self) -> String {
        StepId::new(self.name.as_str()).file_stem()
    }
}

/// Everyone who takes part: `orders`, where the same one a second time is a copy, and a copy of the subject for each of
/// `slowed`.
///
/// # Errors
/// Nobody is left to compare with.
pub fn contenders(orders: &[Order], slowed: &[Slowed]) -> Result<Vec<Contender>> {
    let mut all: Vec<Contender> = Vec::new();
    for order in orders {
        let before = all.iter().filter(|other| other.order == *order).count();
        let name = if before == 0 { order.name().to_owned() } else { format!("{}#{}", order.name(), before + 1) };
        let copy_of = (before > 0).then(|| order.name().to_owned());
        all.push(Contender { name, order: *order, slowed: None, copy_of });
    }
    for slow in slowed {
        let base = subject(&all).context("a step is slowed in a schedule, and none takes part")?.clone();
        ensure!(base.order != Order::Script, "a step is slowed in a schedule, and none takes part");
        let name = format!("{}+{}={}", base.name, slow.step, slow.seconds);
        if all.iter().any(|other| other.name == name) {
            bail!("{name} takes part twice");
        }
        all.push(Contender { name, slowed: Some(slow.clone()), copy_of: Some(base.name), order: base.order });
    }
    ensure!(!all.is_empty(), "nobody takes part: name schedules with --schedules");
    Ok(all)
}

/// The one that all others are set beside: `dag`, else the last schedule, else the last.
pub fn subject(all: &[Contender]) -> Option<&Contender> {
    let own = || all.iter().filter(|contender| contender.copy_of.is_none());
    let dag = own().find(|contender| contender.order == Order::Dag);
    dag.or_else(|| own().rfind(|contender| contender.order != Order::Script)).or_else(|| own().next_back())
}

/// The one that savings are told against: `sequential`, else the first.
pub fn reference(all: &[Contender]) -> Option<&Contender> {
    all.iter().find(|contender| contender.order == Order::Sequential).or(all.first())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(orders: &[Order], slowed: &[&str]) -> Result<Vec<String>> {
        let slowed: Vec<Slowed> = slowed.iter().map(|text| text.parse()).collect::<Result<_>>()?;
        Ok(contenders(orders, &slowed)?.into_iter().map(|contender| contender.name).collect())
    }

    #[test]
    fn copies_and_slowed_ones_have_names_of_their_own() {
        use Order::{Dag, Script, Sequential};
        assert_eq!(names(&[Dag, Dag, Dag], &[]).unwrap(), ["dag", "dag#2", "dag#3"]);
        assert_eq!(names(&[Sequential, Dag], &["image:app=2.5"]).unwrap(), ["sequential", "dag", "dag+image:app=2.5"]);
        for (orders, slowed, problem) in [
            (&[][..], &[][..], "nobody takes part"),
            (&[Script], &["a=1"], "none takes part"),
            (&[Dag], &["a=1", "a=1"], "twice"),
            (&[Dag], &["a"], "STEP=SECONDS"),
            (&[Dag], &["a=x"], "no number"),
            (&[Dag], &["a=0"], "not above 0"),
        ] {
            let error = names(orders, slowed).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn dag_is_the_subject_and_sequential_the_reference() {
        use Order::{Dag, Phased, Script, Sequential};
        for (orders, about, against) in [
            (&[Sequential, Dag, Script][..], "dag", "sequential"),
            (&[Script, Phased][..], "phased", "script"),
            (&[Script][..], "script", "script"),
            (&[Dag, Dag][..], "dag", "dag"),
        ] {
            let all = contenders(orders, &[]).unwrap();
            assert_eq!(
                (subject(&all).unwrap().name.as_str(), reference(&all).unwrap().name.as_str()),
                (about, against)
            );
        }
    }
}
