//! What a spec is to the runner.

use std::time::Duration;

use anyhow::Result;
use futures::future::LocalBoxFuture;

use super::context::Context;

/// A spec that takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(60);
/// The same for one that stops and starts parts of the system.
const ALONE_DEADLINE: Duration = Duration::from_secs(150);

/// One thing that the system must show.
pub(crate) struct Spec {
    /// Topic, number and sentence: `dedup::s02_a_repeat_while_active_is_a_duplicate`.
    pub(crate) name: &'static str,
    /// Runs beside no other, after all that do not.
    pub(crate) alone: bool,
    pub(crate) run: fn(Context) -> LocalBoxFuture<'static, Result<()>>,
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
        if self.alone { ALONE_DEADLINE } else { DEADLINE }
    }
}

/// Lists the specs of a file, so that a spec's name and its function's cannot differ.
macro_rules! specs {
    ($topic:literal: $($(#$alone:ident)? $name:ident),+ $(,)?) => {
        /// The specs of this topic.
        pub(crate) fn specs() -> Vec<$crate::harness::spec::Spec> {
            vec![$($crate::harness::spec::Spec {
                name: concat!($topic, "::", stringify!($name)),
                alone: $crate::harness::spec::is_alone!($($alone)?),
                run: |context| Box::pin($name(context)),
            }),+]
        }
    };
}
pub(crate) use specs;

macro_rules! is_alone {
    () => {
        false
    };
    (alone) => {
        true
    };
}
pub(crate) use is_alone;
