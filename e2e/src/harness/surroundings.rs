//! All that a spec needs of the place in which it runs.

use anyhow::Result;
use futures::future::LocalBoxFuture;
use jiff::Timestamp;
use kube::api::DynamicObject;

use super::deployed::{ALLOWED_ORIGIN, Deployed, SENDER_ROLE};

/// Where the services are, as base URLs without a trailing slash.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    pub(crate) gateway: String,
    pub(crate) gateway_health: String,
    pub(crate) gateway_metrics: String,
    pub(crate) datastorage: String,
}

/// A part of the system that can be stopped and whose log can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Gateway,
    DataStorage,
    PostgreSql,
    Redis,
}

/// One instance of the gateway, at an address that leads to it and to no other, for as long as this lives.
pub(crate) trait Replica {
    /// Names it in messages.
    fn name(&self) -> &str;
    /// The base URL of its API.
    fn url(&self) -> &str;
}

/// The log of one process since some moment.
pub(crate) struct Log {
    /// Whose it is.
    pub(crate) source: String,
    pub(crate) text: String,
}

/// The place in which the specs run: a cluster, or processes beside an API server.
///
/// What changes the number of a part's running instances is for specs that are alone with that part. Its waits have deadlines of their own.
pub(crate) trait Surroundings: Send + Sync {
    /// What is the same in every place.
    fn deployed(&self) -> &Deployed;

    fn addresses(&self) -> &Addresses {
        &self.deployed().addresses
    }

    /// A client that may do everything.
    fn kubernetes(&self) -> &kube::Client {
        &self.deployed().client
    }

    /// The gateway's own namespace, which takes the requests that have no other.
    fn gateway_namespace(&self) -> &str {
        &self.deployed().namespace
    }

    /// An origin from which the gateway is configured to accept cross-origin requests.
    fn allowed_origin(&self) -> &str {
        ALLOWED_ORIGIN
    }

    /// A bearer token of an account that may send signals. The same one each time.
    fn sender_token(&self) -> &str {
        &self.deployed().sender_token
    }

    /// The role, in the gateway's namespace, of accounts that may send signals.
    fn sender_role(&self) -> &str {
        SENDER_ROLE
    }

    /// A bearer token of an account that may write and read audit events. The same one each time.
    fn audit_token(&self) -> &str {
        &self.deployed().audit_token
    }

    /// Has `count` pods of a workload come into being, with their owners, as the controllers of a cluster make them.
    fn make_pods<'a>(&'a self, workload: &'a DynamicObject, count: usize) -> LocalBoxFuture<'a, Result<()>>;

    /// The health of each running instance of the gateway, also while it is ending: the URL of a replica leads to it.
    fn gateways_health(&self) -> LocalBoxFuture<'_, Result<Vec<Box<dyn Replica>>>>;

    /// The API of each running instance of datastorage, whether it is ready or not.
    fn datastorages(&self) -> LocalBoxFuture<'_, Result<Vec<Box<dyn Replica>>>>;

    /// Ends every instance of a part in the ordinary way; returns once new ones answer and the old are gone.
    fn restart(&self, part: Part) -> LocalBoxFuture<'_, Result<()>>;

    /// Replaces the gateway by one that logs at another level, until the gateway is restored.
    fn run_gateway_with_log_level<'a>(&'a self, level: &'a str) -> LocalBoxFuture<'a, Result<()>>;

    /// Begins to replace the gateway by one with another policy, until the gateway is restored; waits for nothing.
    fn try_policy<'a>(&'a self, rego: &'a str) -> LocalBoxFuture<'a, Result<()>>;

    /// Runs `count` instances of the gateway side by side; returns once each is ready.
    fn run_gateways(&self, count: usize) -> LocalBoxFuture<'_, Result<Vec<Box<dyn Replica>>>>;

    /// Stops a part; returns once nothing of it runs any more.
    fn take_away(&self, part: Part) -> LocalBoxFuture<'_, Result<()>>;

    /// Starts it again; returns once it answers.
    fn bring_back(&self, part: Part) -> LocalBoxFuture<'_, Result<()>>;

    /// Brings a part back that was taken away, multiplied or changed and not brought back yet, as after a spec that failed
    /// in between.
    fn restore(&self, part: Part) -> LocalBoxFuture<'_, Result<()>>;

    /// What each running instance of a part has logged since then.
    fn logs(&self, part: Part, since: Timestamp) -> LocalBoxFuture<'_, Result<Vec<Log>>>;
}
