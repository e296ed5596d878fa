//! Whether a server that keeps events can be used.

use tokio::sync::watch;

/// Whether a server can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerState<T = ()> {
    /// With what the last look at it found.
    Up(T),
    /// What the last attempt found.
    Down(String),
}

impl<T> ServerState<T> {
    pub fn is_up(&self) -> bool {
        matches!(self, ServerState::Up(_))
    }
}

/// The state of one server, for those who wait for a change.
pub(crate) struct Watched<T> {
    server: &'static str,
    state: watch::Sender<ServerState<T>>,
}

impl<T: PartialEq> Watched<T> {
    pub(crate) fn new(server: &'static str) -> Watched<T> {
        Watched { server, state: watch::Sender::new(ServerState::Down("not yet connected".to_owned())) }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<ServerState<T>> {
        self.state.subscribe()
    }

    pub(crate) fn is_up(&self) -> bool {
        self.state.borrow().is_up()
    }

    /// The log tells each new reason: also why the server never came up, and what an outage turned into. Whoever waits
    /// is woken when the server came or went.
    pub(crate) fn set(&self, new: ServerState<T>) {
        self.state.send_if_modified(|state| {
            let changed = state.is_up() != new.is_up();
            match &new {
                ServerState::Up(_) if changed => tracing::info!("{} can be used", self.server),
                ServerState::Down(reason) if new != *state => tracing::warn!(reason, "{} cannot be used", self.server),
                ServerState::Up(_) | ServerState::Down(_) => {}
            }
            *state = new;
            changed
        });
    }
}
