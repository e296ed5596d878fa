//! The threads around the queue. One thread, the caller's, changes state and tells about it; the others only work.

use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};

use super::graph::{Graph, GraphError};
use super::queue::Queue;

/// What a run is stopped with. Clones stand for the same thing.
pub trait Cancellation: Clone + Send + Sync {
    /// Whether the work is to end.
    fn is_cancelled(&self) -> bool;
    /// Makes everything that holds a clone end.
    fn cancel(&self, reason: &str);
    /// Why it was cancelled.
    fn reason(&self) -> String;
}

/// What happens to the steps that run while another one fails. Nothing new starts either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// They are told to stop.
    Stop,
    /// They may come to their end.
    Drain,
}

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many steps of each resource run at a time.
    pub slots: Vec<usize>,
    /// What happens to running steps after a failure.
    pub on_failure: OnFailure,
    /// How often [`Change::Tick`] comes while nothing else does, and it is looked whether a step that is better started
    /// late is due; none for never.
    pub tick: Option<Duration>,
    /// The resource whose running steps leave nothing of the machine to a step that is better started late; none where
    /// there is enough for both.
    pub hold_behind: Option<usize>,
}

/// Why a step was never started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkipCause<I> {
    /// This step failed.
    Failed(I),
    /// The run was cancelled, with this reason.
    Cancelled(String),
}

/// How a step ended.
#[derive(Debug)]
pub enum End<I> {
    /// Well.
    Finished,
    /// With an error of its own.
    Failed(anyhow::Error),
    /// It never began.
    Skipped(SkipCause<I>),
    /// It was told to stop, and came back with this.
    Cancelled(anyhow::Error),
}

/// What the observer is told, in the order it happens. Each step: ready at most once, started at most once, ended
/// exactly once.
#[derive(Debug)]
pub enum Change<'a, I, M> {
    /// All its needs are met.
    Ready(&'a I),
    /// It could run, and is better started later, when the rest is as far. Told once.
    Held(&'a I),
    /// It has a slot and runs.
    Started(&'a I),
    /// It has reached its milestone of this number.
    Reached(&'a I, usize),
    /// It says something.
    Said(&'a I, M),
    /// It is over.
    Ended(&'a I, End<I>),
    /// Time has passed.
    Tick,
}

/// What a running step is given.
#[derive(Debug)]
pub struct Context<C, M> {
    cancel: C,
    step: usize,
    sender: Sender<Message<M>>,
}

impl<C, M> Context<C, M> {
    /// Cancelled when the step is to end early.
    pub fn cancel(&self) -> &C {
        &self.cancel
    }

    /// Tells that the step has reached its milestone of this number. Never blocks.
    pub fn reach(&self, milestone: usize) {
        let _ = self.sender.send(Message::Reached(self.step, milestone));
    }

    /// Hands something to the observer. Never blocks.
    pub fn say(&self, message: M) {
        // The coordinator outlives every step; after it nobody is left to hear.
        let _ = self.sender.send(Message::Said(self.step, message));
    }
}

#[derive(Debug)]
enum Message<M> {
    Reached(usize, usize),
    Said(usize, M),
    Ended(usize, anyhow::Result<()>),
}

/// Runs all steps of `graph` on threads of their own, `observe` on the calling thread, and returns when every step has
/// ended. How each ended is told to `observe` alone.
///
/// `cancel` stops the whole run; a failure cancels it too under [`OnFailure::Stop`], so hand in a token of this run.
///
/// # Errors
/// The graph asks for a resource without slots, or no thread can be started.
pub fn run<I, C, M, E, O>(
    graph: Graph<I>,
    options: &Options,
    cancel: &C,
    execute: E,
    mut observe: O,
) -> anyhow::Result<()>
where
    I: Clone + Ord + Hash + Display + Debug + Send + Sync + 'static,
    C: Cancellation,
    M: Send,
    E: Fn(&I, &Context<C, M>) -> anyhow::Result<()> + Sync,
    O: FnMut(Change<'_, I, M>),
{
    let count = graph.len();
    let ids = graph.ids.clone();
    let mut queue = Queue::new(graph, &options.slots).map_err(|error: GraphError<I>| anyhow!(error))?;
    // Steps block on children: a thread for each that may run at a time.
    let threads = options.slots.iter().sum::<usize>().min(count).max(1);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|number| format!("step-{number}"))
        .build()
        .context("starting the threads that run steps")?;
    let (sender, receiver) = mpsc::channel();
    let ids = &ids;
    let execute = &execute;
    let mut stopped = false;
    let mut began: Vec<Option<Instant>> = vec![None; count];

    pool.in_place_scope(|scope| {
        loop {
            if cancel.is_cancelled() && !stopped {
                stopped = true;
                skip_rest(&mut queue, &SkipCause::Cancelled(cancel.reason()), &mut observe);
            }
            loop {
                for step in queue.take_ready() {
                    if !stopped {
                        observe(Change::Ready(&ids[step]));
                    }
                }
                let elapsed_ms = |step: usize| began[step].map_or(0, |began| millis(began.elapsed()));
                for step in queue.release_held(options.hold_behind, elapsed_ms) {
                    if !stopped {
                        observe(Change::Held(&ids[step]));
                    }
                }
                let Some(step) = queue.pop() else { break };
                observe(Change::Started(&ids[step]));
                began[step] = Some(Instant::now());
                let context = Context { cancel: cancel.clone(), step, sender: sender.clone() };
                scope.spawn(move |_| {
                    let result = catch_unwind(AssertUnwindSafe(|| execute(&ids[step], &context)))
                        .unwrap_or_else(|panic| Err(anyhow!("the step panicked: {}", panic_text(panic.as_ref()))));
                    // The coordinator waits for exactly this message.
                    let _ = context.sender.send(Message::Ended(step, result));
                });
            }
            if queue.running() == 0 {
                break;
            }
            let message = match options.tick {
                Some(tick) => match receiver.recv_timeout(tick) {
                    Ok(message) => message,
                    Err(RecvTimeoutError::Timeout) => {
                        observe(Change::Tick);
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                },
                None => match receiver.recv() {
                    Ok(message) => message,
                    Err(_) => break,
                },
            };
            match message {
                Message::Reached(step, milestone) => {
                    observe(Change::Reached(&ids[step], milestone));
                    queue.reach(step, milestone);
                }
                Message::Said(step, said) => observe(Change::Said(&ids[step], said)),
                Message::Ended(step, Ok(())) => {
                    queue.finish(step);
                    observe(Change::Ended(&ids[step], End::Finished));
                }
                Message::Ended(step, Err(error)) => {
                    queue.abandon(step);
                    if cancel.is_cancelled() {
                        observe(Change::Ended(&ids[step], End::Cancelled(error)));
                    } else {
                        observe(Change::Ended(&ids[step], End::Failed(error)));
                        if !stopped {
                            stopped = true;
                            skip_rest(&mut queue, &SkipCause::Failed(ids[step].clone()), &mut observe);
                            if options.on_failure == OnFailure::Stop {
                                cancel.cancel(&format!("{} failed", ids[step]));
                            }
                        }
                    }
                }
            }
        }
    });
    // Whatever is still waiting here could never have become ready; a checked graph has no such step.
    assert!(queue.is_done(), "every step has ended");
    Ok(())
}

fn skip_rest<I: Clone + Ord + Hash, M>(
    queue: &mut Queue<I>,
    cause: &SkipCause<I>,
    observe: &mut impl FnMut(Change<'_, I, M>),
) {
    for step in queue.stop() {
        observe(Change::Ended(queue.id(step), End::Skipped(cause.clone())));
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
