//! The queue and the runner on made-up graphs: tables, and random ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::bail;
use proptest::prelude::*;

use super::{
    Cancellation, Change, Context, End, Graph, GraphError, Need, Node, On, OnFailure, Options, Queue, SkipCause, run,
};

/// `a:3+1 b:1<a c!:2~a@1`: a step, whether it is better started late, its weight and that up to its milestone, what it
/// waits for (`<` the end, `~` the milestone), its resource.
fn nodes(text: &str) -> Vec<Node<String>> {
    text.split_whitespace().map(node).collect()
}

fn node(text: &str) -> Node<String> {
    let (text, resource) = text.split_once('@').unwrap_or((text, "0"));
    let end = text.find(['<', '~']).unwrap_or(text.len());
    let (id, weight) = text[..end].split_once(':').unwrap_or((&text[..end], "1"));
    let (weight, milestones) =
        weight.split_once('+').map_or((weight, vec![]), |(all, part)| (all, vec![part.parse().unwrap()]));
    let mut needs = Vec::new();
    let mut rest = &text[end..];
    while let Some(mark) = rest.chars().next() {
        let end = rest[1..].find(['<', '~']).map_or(rest.len(), |at| at + 1);
        let on = if mark == '~' { On::Milestone(0) } else { On::Finish };
        needs.push(Need { id: rest[1..end].to_owned(), on });
        rest = &rest[end..];
    }
    let (id, late) = id.strip_suffix('!').map_or((id, false), |id| (id, true));
    let (weight, resource) = (weight.parse().unwrap(), resource.parse().unwrap());
    Node { id: id.to_owned(), weight, milestones, late, resource, needs }
}

fn graph(text: &str) -> Graph<String> {
    Graph::new(nodes(text)).unwrap()
}

/// All that can start now.
fn start(queue: &mut Queue<String>) -> (Vec<usize>, String) {
    let mut steps = Vec::new();
    while let Some(step) = queue.pop() {
        steps.push(step);
    }
    let names: Vec<&str> = steps.iter().map(|&step| queue.id(step).as_str()).collect();
    let names = names.join(" ");
    (steps, names)
}

#[test]
fn what_has_the_longest_way_behind_it_goes_first() {
    for (steps, slots, rounds) in [
        ("a:1 b:2 c:3", &[1][..], &["c", "b", "a"][..]),
        // The light one has a heavy one behind it.
        ("a:5 b:1 c:9<b", &[1], &["b", "c", "a"]),
        // Ties go by name, whatever the order they are given in.
        ("z:1 m:1 a:1", &[2], &["a m", "z"]),
        // The slots of one resource do not hold up another's.
        ("a:9 b:8 c:1@1", &[1, 1], &["a c", "b"]),
        // What has ended has reached its milestones.
        ("kind:5+3 load:4~kind last:1<kind<load", &[4], &["kind", "load", "last"]),
        ("a b<a c<a d<b<c", &[4], &["a", "b c", "d"]),
        // A need that is stated twice is met once.
        ("a:2+1 b<a<a~a~a", &[4], &["a", "b"]),
        // The way behind a milestone counts from there on: 2 + 9 are more than 8, and 2 + 5 are not.
        ("a:3+2 b:8 c:9~a", &[1], &["a", "c", "b"]),
        ("a:3+2 b:8 c:5~a", &[1], &["b", "a", "c"]),
    ] {
        let mut queue = Queue::new(graph(steps), slots).unwrap();
        for expected in rounds {
            let (started, names) = start(&mut queue);
            assert_eq!(names, *expected, "{steps}");
            for step in started {
                queue.finish(step);
            }
        }
        assert!(queue.is_done(), "{steps}");
    }
}

#[test]
fn graphs_that_cannot_be_run_are_refused() {
    let error = |text: &str| Graph::new(nodes(text)).unwrap_err();
    assert_eq!(error("a a"), GraphError::Duplicate("a".into()));
    assert_eq!(error("a<b"), GraphError::Unknown { step: "a".into(), need: "b".into() });
    assert_eq!(error("a~b b"), GraphError::Unknown { step: "a".into(), need: "b".into() });
    for (text, members) in [("a<a", "a"), ("x a<c b<a c<b d<c", "a b c"), ("a~b b:2+1<a", "a b")] {
        let GraphError::Cycle(ids) = error(text) else { panic!("{text} has a circle") };
        let ids: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
        assert_eq!(ids, members.split(' ').collect(), "{text}");
    }
    assert_eq!(Queue::new(graph("a@3"), &[1]).unwrap_err(), GraphError::NoSlot("a".into()));
    assert_eq!(Queue::new(graph("a"), &[0]).unwrap_err(), GraphError::NoSlot("a".into()));
}

#[test]
fn a_milestone_lets_go_of_what_waits_for_it_while_its_step_runs() {
    let mut queue = Queue::new(graph("kind:5+3 load:4~kind last:1<kind<load"), &[4]).unwrap();
    let kind = start(&mut queue).0[0];
    queue.reach(kind, 0);
    let (load, names) = start(&mut queue);
    assert_eq!(names, "load");
    queue.reach(kind, 0);
    assert_eq!(start(&mut queue).1, "", "it is reached once");
    queue.finish(load[0]);
    assert_eq!(start(&mut queue).1, "", "the end is another thing");
    queue.finish(kind);
    assert_eq!(start(&mut queue).1, "last");
}

#[test]
fn after_a_stop_nothing_starts_and_the_rest_is_given_up_once() {
    let mut queue = Queue::new(graph("a:9 b<a c<b d:8 e:7 f:1"), &[2]).unwrap();
    let (started, names) = start(&mut queue);
    assert_eq!(names, "a d");
    queue.abandon(started[0]);
    let never: Vec<String> = queue.stop().into_iter().map(|step| queue.id(step).clone()).collect();
    assert_eq!(never, ["e", "f", "b", "c"]);
    assert_eq!((queue.pop(), queue.stop().len()), (None, 0));
    assert!(!queue.is_done(), "one still runs");
    queue.finish(started[1]);
    assert!(queue.is_done());
}

#[test]
fn what_is_better_started_late_waits_while_the_rest_takes_longer() {
    let steps = "kind!:4 build:20 up:1<kind<build";
    let mut queue = Queue::new(graph(steps), &[4]).unwrap();
    let early = queue.release_held(None, |_| 0);
    assert_eq!(early.into_iter().map(|step| queue.id(step).as_str()).collect::<Vec<_>>(), ["kind"]);
    let (started, names) = start(&mut queue);
    assert_eq!(names, "build");
    assert!(queue.release_held(None, |_| 14).is_empty(), "it is told once");
    assert_eq!(start(&mut queue).1, "", "7 are left, and 5 are behind the other");
    queue.release_held(None, |_| 15);
    assert_eq!(start(&mut queue).1, "kind");

    // The rest ends earlier than expected.
    let mut queue = Queue::new(graph(steps), &[4]).unwrap();
    assert_eq!(start(&mut queue).0, started);
    queue.finish(started[0]);
    queue.release_held(None, |_| 0);
    assert_eq!(start(&mut queue).1, "kind");

    // Nothing is shorter for waiting, where nothing else runs or the rest is as short.
    for (steps, expected) in [("kind!:4 up:1<kind", "kind"), ("kind!:4 build:5 up:1<kind<build", "build kind")] {
        let mut queue = Queue::new(graph(steps), &[4]).unwrap();
        queue.release_held(None, |_| 0);
        assert_eq!(start(&mut queue).1, expected, "{steps}");
    }

    // A run that is given up begins it no more.
    let mut queue = Queue::new(graph(steps), &[4]).unwrap();
    let build = start(&mut queue).0[0];
    assert_eq!(queue.stop().len(), 2);
    queue.abandon(build);
    queue.release_held(None, |_| 0);
    assert!(start(&mut queue).0.is_empty() && queue.is_done());
}

#[test]
fn what_is_held_waits_for_the_end_of_what_leaves_it_nothing() {
    let mut queue = Queue::new(graph("kind!:4@1 build:20 up:1<kind<build@1"), &[2, 2]).unwrap();
    queue.release_held(Some(0), |_| 0);
    let (build, names) = start(&mut queue);
    assert_eq!(names, "build");
    queue.release_held(Some(0), |_| 19);
    assert_eq!(start(&mut queue).1, "", "it is due, but the build still runs");
    queue.finish(build[0]);
    queue.release_held(Some(0), |_| 0);
    assert_eq!(start(&mut queue).1, "kind");

    // What is due as soon as it is ready waits for nothing.
    let mut queue = Queue::new(graph("first:1 kind!:4<first@1 build:5 up:1<kind<build@1"), &[2, 2]).unwrap();
    let (steps, names) = start(&mut queue);
    assert_eq!(names, "build first");
    queue.finish(steps[1]);
    queue.release_held(Some(0), |_| 1);
    assert_eq!(start(&mut queue).1, "kind");
}

/// Layers of steps, each step needing two of the layer before.
fn wide(count: usize) -> Graph<usize> {
    let layer = 100;
    let needs = |step: usize| {
        let before = |at: usize| Need { id: at, on: On::Finish };
        if step < layer { Vec::new() } else { vec![before(step - layer), before(step / layer * layer - 1)] }
    };
    Graph::new(
        (0..count)
            .map(|step| Node {
                id: step,
                weight: 1 + (step % 7) as u64,
                milestones: Vec::new(),
                late: false,
                resource: step % 3,
                needs: needs(step),
            })
            .collect(),
    )
    .unwrap()
}

#[test]
fn the_work_grows_with_the_needs_and_not_with_their_square() {
    let touched = |count| {
        let mut queue = Queue::new(wide(count), &[2, 2, 32]).unwrap();
        while let Some(step) = queue.pop() {
            queue.finish(step);
        }
        assert!(queue.is_done());
        queue.touched
    };
    // Two needs each beyond the first layer; the last of each layer has the same twice.
    assert_eq!(touched(10_000), 2 * 9_900 - 99, "each need is looked at once");
}

#[test]
fn ten_thousand_steps_cost_far_less_than_a_millisecond_each() {
    let began = Instant::now();
    let ended = AtomicUsize::new(0);
    let options = Options { slots: vec![2, 2, 32], on_failure: OnFailure::Stop, tick: None, hold_behind: None };
    let mut seen = 0;
    run(
        wide(10_000),
        &options,
        &Flag::default(),
        |_: &usize, _: &Context<Flag, ()>| {
            ended.fetch_add(1, Ordering::Relaxed);
            Ok(())
        },
        |change| seen += usize::from(matches!(change, Change::Ended(_, End::Finished))),
    )
    .unwrap();
    assert_eq!((ended.load(Ordering::Relaxed), seen), (10_000, 10_000));
    let elapsed = began.elapsed();
    assert!(elapsed < Duration::from_secs(10), "{elapsed:?} for 10,000 steps");
}

#[derive(Clone, Default)]
struct Flag(Arc<AtomicBool>);

impl Cancellation for Flag {
    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    fn cancel(&self, _reason: &str) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn reason(&self) -> String {
        "asked to".to_owned()
    }
}

/// How each step ended, in the order of the ends.
fn ends(
    text: &str,
    slots: &[usize],
    on_failure: OnFailure,
    work: impl Fn(&str, &Context<Flag, String>) -> anyhow::Result<()> + Sync,
) -> Vec<String> {
    ends_seen(text, slots, on_failure, &AtomicUsize::new(0), work)
}

/// As [`ends`]; `seen` counts the ends that the coordinator has dealt with.
fn ends_seen(
    text: &str,
    slots: &[usize],
    on_failure: OnFailure,
    seen: &AtomicUsize,
    work: impl Fn(&str, &Context<Flag, String>) -> anyhow::Result<()> + Sync,
) -> Vec<String> {
    let options = Options { slots: slots.to_vec(), on_failure, tick: None, hold_behind: None };
    let mut ends = Vec::new();
    run(
        graph(text),
        &options,
        &Flag::default(),
        |id: &String, context| work(id, context),
        |change| {
            if let Change::Ended(id, end) = change {
                ends.push(match end {
                    End::Finished => format!("{id} finished"),
                    End::Failed(error) => format!("{id} failed: {error}"),
                    End::Skipped(SkipCause::Failed(because)) => format!("{id} skipped: {because} failed"),
                    End::Skipped(SkipCause::Cancelled(reason)) => format!("{id} skipped: {reason}"),
                    End::Cancelled(error) => format!("{id} cancelled: {error}"),
                });
                seen.fetch_add(1, Ordering::SeqCst);
            }
        },
    )
    .unwrap();
    ends
}

/// Waits until the flag is set; fails after a time that no test should need.
fn until_cancelled(context: &Context<Flag, String>) -> anyhow::Result<()> {
    let began = Instant::now();
    while !context.cancel().is_cancelled() {
        assert!(began.elapsed() < Duration::from_secs(30), "nobody cancelled");
        std::thread::yield_now();
    }
    bail!("told to stop")
}

#[test]
fn a_failure_stops_what_runs_and_skips_what_has_not_begun() {
    let ends = ends("bad long after<bad other:0", &[2], OnFailure::Stop, |id, context| match id {
        "bad" => bail!("no"),
        _ => until_cancelled(context),
    });
    assert_eq!(
        ends,
        ["bad failed: no", "other skipped: bad failed", "after skipped: bad failed", "long cancelled: told to stop"]
    );
}

#[test]
fn a_drained_step_may_still_end_well_or_fail_by_itself() {
    for (result, expected) in [(true, "long finished"), (false, "long failed: too")] {
        let seen = AtomicUsize::new(0);
        let ends = ends_seen("bad long after<long", &[2], OnFailure::Drain, &seen, |id, context| {
            if id == "bad" {
                bail!("no");
            }
            // Until the failure is known, not only until it has happened: else `after` may rightly begin.
            while seen.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            assert!(!context.cancel().is_cancelled());
            if result { Ok(()) } else { bail!("too") }
        });
        let ends: BTreeSet<&str> = ends.iter().map(String::as_str).collect();
        assert!(ends.contains(expected), "{ends:?}");
        assert_eq!(ends.len(), 3);
        assert!(!ends.contains("after finished"));
    }
}

#[test]
fn a_panic_is_a_failure_and_not_the_end_of_the_run() {
    let ends = ends("a b<a", &[1], OnFailure::Stop, |_, _| panic!("out of {}", "cheese"));
    assert_eq!(ends, ["a failed: the step panicked: out of cheese", "b skipped: a failed"]);
}

#[test]
fn a_cancelled_run_ends_every_step_with_the_reason() {
    let flag = Flag::default();
    let options = Options {
        slots: vec![1],
        on_failure: OnFailure::Stop,
        tick: Some(Duration::from_millis(1)),
        hold_behind: None,
    };
    let mut ends = Vec::new();
    let ticks = Mutex::new(0);
    run(
        graph("a b<a c"),
        &options,
        &flag,
        |_: &String, context: &Context<Flag, String>| until_cancelled(context),
        |change| match change {
            Change::Ended(id, end) => ends.push(format!("{id} {end:?}")),
            Change::Tick => {
                *ticks.lock().unwrap() += 1;
                flag.cancel("");
            }
            _ => {}
        },
    )
    .unwrap();
    let ends = ends.join("\n");
    assert!(ends.contains("a Cancelled"), "{ends}");
    assert_eq!(ends.matches("Skipped(Cancelled(\"asked to\"))").count(), 2, "{ends}");
    assert!(*ticks.lock().unwrap() > 0);
}

#[test]
fn what_a_step_says_comes_between_its_start_and_its_end() {
    let options = Options { slots: vec![4], on_failure: OnFailure::Stop, tick: None, hold_behind: None };
    let mut log: BTreeMap<String, Vec<String>> = BTreeMap::new();
    run(
        graph("a b c<a"),
        &options,
        &Flag::default(),
        |id: &String, context: &Context<Flag, String>| {
            context.reach(0);
            context.say(format!("{id} one"));
            std::thread::scope(|scope| {
                scope.spawn(|| context.say(format!("{id} two"))).join().map_err(|_| anyhow::anyhow!("panic"))
            })
        },
        |change| {
            let (id, what) = match change {
                Change::Ready(id) => (id, "ready".to_owned()),
                Change::Held(id) => (id, "held".to_owned()),
                Change::Started(id) => (id, "started".to_owned()),
                Change::Reached(id, number) => (id, format!("reached {number}")),
                Change::Said(id, text) => (id, text),
                Change::Ended(id, _) => (id, "ended".to_owned()),
                Change::Tick => return,
            };
            log.entry(id.clone()).or_default().push(what);
        },
    )
    .unwrap();
    for (id, what) in log {
        assert_eq!(what, ["ready", "started", "reached 0", &format!("{id} one"), &format!("{id} two"), "ended"]);
    }
}

#[test]
fn a_step_that_is_held_is_told_once_and_begins_as_soon_as_the_rest_is_over() {
    let mut log = Vec::new();
    run(
        graph("kind!:4 build:20000000 up:1<kind<build"),
        &Options {
            slots: vec![4],
            on_failure: OnFailure::Stop,
            tick: Some(Duration::from_millis(1)),
            hold_behind: None,
        },
        &Flag::default(),
        |_: &String, context: &Context<Flag, ()>| {
            context.say(());
            Ok(())
        },
        |change| match change {
            Change::Held(id) => log.push(format!("held {id}")),
            Change::Started(id) => log.push(format!("started {id}")),
            Change::Ended(id, _) => log.push(format!("ended {id}")),
            _ => {}
        },
    )
    .unwrap();
    let expected =
        ["held kind", "started build", "ended build", "started kind", "ended kind", "started up", "ended up"];
    assert_eq!(log, expected);
}

/// Steps with needs among those before them, some of which fail.
fn random_graph() -> impl Strategy<Value = (Vec<Node<u32>>, BTreeSet<u32>)> {
    let step = (
        0..20_u64,
        0..3_usize,
        proptest::collection::vec((any::<prop::sample::Index>(), proptest::option::of(0..2_usize)), 0..4),
        0..12_u8,
    );
    proptest::collection::vec(step, 1..40).prop_map(|steps| {
        let mut failing = BTreeSet::new();
        let nodes = steps.into_iter().enumerate().map(|(at, (weight, resource, needs, luck))| {
            let id = at as u32;
            if luck == 0 {
                failing.insert(id);
            }
            let needs = needs.into_iter().filter(|_| at > 0);
            let needs = needs.map(|(need, milestone)| Need {
                id: need.index(at) as u32,
                on: milestone.map_or(On::Finish, On::Milestone),
            });
            let milestones = vec![weight / 2, weight];
            Node { id, weight, milestones, late: luck % 3 == 1, resource, needs: needs.collect() }
        });
        let nodes = nodes.collect();
        (nodes, failing)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_step_ends_exactly_once_within_its_slots_and_after_its_needs(
        (nodes, failing) in random_graph(),
        drain in any::<bool>(),
    ) {
        let slots = [1, 2, 4];
        let running = [AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0)];
        let resources: BTreeMap<u32, usize> = nodes.iter().map(|node| (node.id, node.resource)).collect();
        let needs: BTreeMap<u32, Vec<Need<u32>>> = nodes.iter().map(|node| (node.id, node.needs.clone())).collect();
        let options = Options {
            slots: slots.to_vec(),
            on_failure: if drain { OnFailure::Drain } else { OnFailure::Stop },
            tick: None,
            hold_behind: Some(1),
        };
        let too_many = AtomicBool::new(false);
        let (mut started, mut finished, mut ended) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut reached = BTreeSet::new();
        let mut problems = Vec::new();
        let mut failed = false;
        run(
            Graph::new(nodes.clone()).unwrap(),
            &options,
            &Flag::default(),
            |id: &u32, context: &Context<Flag, ()>| {
                // Of some only the end tells that they have reached the second one.
                context.reach((id % 2) as usize);
                let resource = resources[id];
                if running[resource].fetch_add(1, Ordering::SeqCst) >= slots[resource] {
                    too_many.store(true, Ordering::SeqCst);
                }
                std::thread::yield_now();
                running[resource].fetch_sub(1, Ordering::SeqCst);
                if failing.contains(id) { bail!("no") } else { Ok(()) }
            },
            |change| match change {
                Change::Started(id) => {
                    for need in &needs[id] {
                        let met = match need.on {
                            On::Milestone(number) => reached.contains(&(need.id, number)) || finished.contains(&need.id),
                            On::Finish => finished.contains(&need.id),
                        };
                        if !met {
                            problems.push(format!("{id} began before {}", need.id));
                        }
                    }
                    if failed || !started.insert(*id) {
                        problems.push(format!("{id} began twice, or after a failure"));
                    }
                }
                Change::Reached(id, number) => { reached.insert((*id, number)); }
                Change::Ended(id, end) => {
                    match end {
                        End::Finished => { finished.insert(*id); }
                        End::Failed(_) => failed = true,
                        End::Skipped(SkipCause::Failed(because)) => {
                            if !failing.contains(&because) || started.contains(id) {
                                problems.push(format!("{id} was skipped without a reason"));
                            }
                        }
                        End::Skipped(SkipCause::Cancelled(_)) => problems.push(format!("nobody cancelled {id}")),
                        End::Cancelled(_) => {}
                    }
                    if !ended.insert(*id) {
                        problems.push(format!("{id} ended twice"));
                    }
                }
                _ => {}
            },
        ).unwrap();
        prop_assert!(problems.is_empty(), "{problems:?}");
        prop_assert!(!too_many.load(Ordering::SeqCst), "more ran than there are slots");
        prop_assert_eq!(ended.len(), nodes.len());
        let expected = started.iter().any(|id| failing.contains(id));
        prop_assert_eq!(failed, expected);
        if !failed {
            prop_assert_eq!(finished.len(), nodes.len());
        }
    }
}
