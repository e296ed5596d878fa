//! What a spec is to the runner.

use std::time::Duration;

use anyhow::Result;
use futures::future::LocalBoxFuture;

use super::context::Context;
use super::surroundings::Part;

/// A spec that takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(60);
/// The same for one that stops and starts parts of the system.
const ALONE_DEADLINE: Duration = Duration::from_secs(150);

/// One thing that the system must show.
pub(crate) struct Spec {
    /// Topic, number and sentence: `dedup::s02_a_repeat_while_active_is_a_duplicate`.
    pub(crate) name: &'static str,
    /// What it wants for itself: it runs after all specs that want nothing, and beside none that it meets.
    pub(crate) alone: Option<Alone>,
    pub(crate) run: fn(Context) -> LocalBoxFuture<'static, Result<()>>,
}

/// A part of the system that a spec disturbs or counts on, and what else has to be undisturbed meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alone {
    pub(crate) with: Part,
    pub(crate) uses: &'static [Part],
}

impl Alone {
    /// Whether two specs may not run at the same time.
    pub(crate) fn meets(self, other: Alone) -> bool {
        self.with == other.with || self.uses.contains(&other.with) || other.uses.contains(&self.with)
    }
}

impl Spec {
    /// What it is called where a topic would be in the way: as its function.
    pub(crate) fn short_name(&self) -> &'static str {
        self.name.rsplit("::").next().unwrap_or(self.name)
    }

    /// Its number: `s02`.
    pub(crate) fn number(&self) -> &'static str {
        self.short_name().split('_').next().unwrap_or(self.name)
    }

    pub(crate) fn deadline(&self) -> Duration {
        if self.alone.is_some() { ALONE_DEADLINE } else { DEADLINE }
    }
}

/// Lists the specs of a file, so that a spec's name and its function's cannot differ. `#alone(A; B, C)` before one says
/// that it wants the part A for itself, and B and C undisturbed.
macro_rules! specs {
    ($topic:literal: $($(#alone($($alone:tt)+))? $name:ident),+ $(,)?) => {
        /// The specs of this topic.
        pub(crate) fn specs() -> Vec<$crate::harness::spec::Spec> {
            vec![$($crate::harness::spec::Spec {
                name: concat!($topic, "::", stringify!($name)),
                alone: $crate::harness::spec::alone!($($($alone)+)?),
                run: |context| Box::pin($name(context)),
            }),+]
        }
    };
}
pub(crate) use specs;

macro_rules! alone {
    () => {
        None
    };
    ($with:ident $(; $($used:ident),+)?) => {
        Some($crate::harness::spec::Alone {
            with: $crate::harness::surroundings::Part::$with,
            uses: &[$($($crate::harness::surroundings::Part::$used),+)?],
        })
    };
}
pub(crate) use alone;
