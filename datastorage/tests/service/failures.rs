//! Failure runs: servers and service are killed, one by one and all at once, at moments that a seed chooses, while events
//! are sent, small and large. What was answered 201 or 202 must then be in PostgreSQL, once and whole, and the service
//! must not have held more than [`PEAK_MIB`].
//!
//! `DATASTORAGE_FAILURE_SEEDS=20 cargo test -p datastorage failure_runs -- --nocapture` runs twenty seeds.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::random::Random;
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::process::Process;
use crate::stand::{BATCH, Client, DEADLINE, EVENTS, Servers, answer, event, hours_ago};

const SEEDS_ENV: &str = "DATASTORAGE_FAILURE_SEEDS";
const SEEDS_DEFAULT: u64 = 1;
/// At least so many posts while the servers come and go.
const POSTS: usize = 1000;
const SENDERS: usize = 8;
/// Events that are queued so that the service can be killed while it works them off.
const BACKLOG: usize = 3000;
/// One post of so many is a large event.
const LARGE_SHARE: usize = 16;
/// How many bytes the padding of a large event has, from and to; a body may have 2 MiB.
const LARGE_BYTES: (usize, usize) = (256 * 1024, 2_000_000);
/// The most that a process of the service may have held, in MiB, of the 256 that its pod may.
const PEAK_MIB: u64 = 200;

#[derive(Clone, Copy, Debug)]
enum Act {
    /// Kills it, or starts it if it is dead.
    Postgres,
    Redis,
    /// Kills the service and starts it again.
    Service,
    /// Kills all three at once, and starts them again. Both servers run.
    All,
}

/// What happens, and after how many posts since what happened before.
fn plan(random: &mut Random) -> Vec<(usize, Act)> {
    // Both servers an even number of times, so that they run at the end.
    let mut acts = vec![
        Act::Postgres,
        Act::Postgres,
        Act::Postgres,
        Act::Postgres,
        Act::Redis,
        Act::Redis,
        Act::Service,
        Act::Service,
    ];
    for last in (1..acts.len()).rev() {
        acts.swap(last, random.between(0, last + 1));
    }
    let count = |acts: &[Act], of: fn(&Act) -> bool| acts.iter().filter(|act| of(act)).count();
    let both_run = |at: &usize| {
        let before = &acts[..*at];
        count(before, |act| matches!(act, Act::Postgres)) % 2 == 0
            && count(before, |act| matches!(act, Act::Redis)) % 2 == 0
    };
    let places: Vec<usize> = (0..=acts.len()).filter(both_run).collect();
    acts.insert(places[random.between(0, places.len())], Act::All);
    acts.into_iter().map(|act| (random.between(20, 180), act)).collect()
}

/// What an event is found again by, and how large it is.
#[derive(Clone, Debug)]
struct Mark {
    name: String,
    /// 0 for an ordinary event.
    padding_bytes: usize,
}

impl Mark {
    fn new(random: &mut Random) -> Mark {
        let id = Uuid::from_u64_pair(random.number(), random.number());
        let prefix = if random.between(0, 2) == 0 { "id" } else { "no" };
        Mark { name: format!("{prefix}-{id}"), padding_bytes: 0 }
    }

    fn large(random: &mut Random) -> Mark {
        let padding_bytes = random.between(LARGE_BYTES.0, LARGE_BYTES.1);
        Mark { padding_bytes, ..Mark::new(random) }
    }
}

/// What a run has sent and heard, in events.
#[derive(Default)]
struct Tally {
    sent: usize,
    stored: usize,
    queued: usize,
    refused: usize,
    unanswered: usize,
    /// The mark of every event that was answered 201 or 202.
    promised: Vec<Mark>,
}

struct Sender {
    client: Client,
    run: String,
    tally: Arc<Mutex<Tally>>,
    posts: Arc<AtomicUsize>,
    /// Whether everything that was planned has happened.
    over: Arc<AtomicBool>,
}

impl Sender {
    /// Sends events that bear marks; a mark that is given twice stands for one event that is sent twice.
    async fn send(&self, marks: &[Mark], random: &mut Random) {
        let events: Vec<Value> = marks
            .iter()
            .map(|mark| {
                let mut event = event(&self.run);
                event["event_data"] = json!({ "mark": mark.name, "padding": "x".repeat(mark.padding_bytes) });
                // Half of the events have an id that the client made; a repeat has another time.
                if let Some(id) = mark.name.strip_prefix("id-") {
                    event["event_id"] = json!(id);
                    event["event_timestamp"] = json!(hours_ago(i64::try_from(random.number() % 160).unwrap()));
                }
                event
            })
            .collect();
        let request = match &events[..] {
            [event] => self.client.request(reqwest::Method::POST, EVENTS).json(event),
            events => self.client.request(reqwest::Method::POST, BATCH).json(events),
        };
        let heard = answer(request).await;
        {
            let mut tally = self.tally.lock().unwrap();
            tally.sent += marks.len();
            match heard.as_ref().map(|answer| answer.status) {
                Ok(status @ (201 | 202)) => {
                    *(if status == 201 { &mut tally.stored } else { &mut tally.queued }) += marks.len();
                    tally.promised.extend_from_slice(marks);
                }
                Ok(503 | 429) => tally.refused += marks.len(),
                Ok(status) => panic!("an event was answered {status}: {heard:?}"),
                Err(_) => tally.unanswered += marks.len(),
            }
        }
        self.posts.fetch_add(1, Ordering::SeqCst);
        if heard.is_err() {
            let end = Instant::now() + DEADLINE;
            while !self.client.alive().await {
                assert!(Instant::now() < end, "the service is not back after {DEADLINE:?}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    async fn send_share(self, mut random: Random) {
        let mut sent: Vec<Mark> = Vec::new();
        while self.posts.load(Ordering::SeqCst) < POSTS || !self.over.load(Ordering::SeqCst) {
            let mut marks: Vec<Mark> = if random.between(0, LARGE_SHARE) == 0 {
                vec![Mark::large(&mut random)]
            } else {
                let size = if random.between(0, 10) < 7 { 1 } else { random.between(2, 6) };
                (0..size).map(|_| Mark::new(&mut random)).collect()
            };
            if !sent.is_empty() && random.between(0, 10) == 0 {
                marks[0] = sent[random.between(0, sent.len())].clone();
            }
            self.send(&marks, &mut random).await;
            sent.extend(marks.into_iter().filter(|mark| mark.name.starts_with("id-")));
        }
    }
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "waiting for {what}: not so after {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until the queue is no longer than `goal`, however slow the machine is: it must only become shorter again and again.
fn wait_for_queue(goal: usize, mut queued: impl FnMut() -> usize, service: &Process) {
    let (mut shortest, mut end) = (usize::MAX, Instant::now());
    loop {
        let length = queued();
        if length <= goal {
            return;
        }
        if length < shortest {
            (shortest, end) = (length, Instant::now() + DEADLINE);
        }
        if Instant::now() > end {
            let log = std::fs::read_to_string(service.log()).unwrap();
            let tail = log.lines().rev().take(20).collect::<Vec<_>>();
            panic!("{length} events stay in the queue; the service's last lines, the newest first: {tail:#?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Returns how many events were stored, queued, neither, left in the queue when the service was killed, and of those
/// that were stored or queued how many were large.
fn run(seed: u64, runtime: &Runtime) -> [usize; 5] {
    let begun = Instant::now();
    let mut random = Random::new(seed);
    let mut servers = Servers::start();
    let mut service = Process::start(&servers);
    runtime.block_on(service.client.wait_until_up("postgres"));
    let (tally, posts) = (Arc::new(Mutex::new(Tally::default())), Arc::new(AtomicUsize::new(0)));
    let over = Arc::new(AtomicBool::new(false));
    let sender = || Sender {
        client: service.client.clone(),
        run: format!("run-{seed}"),
        tally: tally.clone(),
        posts: posts.clone(),
        over: over.clone(),
    };
    let backlog_sender = sender();
    let senders: Vec<_> =
        (0..SENDERS).map(|_| runtime.spawn(sender().send_share(Random::new(random.number())))).collect();

    let plan = plan(&mut random);
    let (mut postgres_runs, mut redis_runs) = (true, true);
    for (after, act) in &plan {
        let goal = posts.load(Ordering::SeqCst) + after;
        wait_until("posts", || posts.load(Ordering::SeqCst) >= goal);
        match act {
            Act::Postgres if postgres_runs => servers.postgres.kill9().unwrap(),
            Act::Postgres => {
                servers.postgres.restart().unwrap();
                runtime.block_on(service.client.wait_until_up("postgres"));
            }
            Act::Redis if redis_runs => servers.redis.kill9(),
            Act::Redis => servers.redis.restart().unwrap(),
            Act::Service => {
                service.kill9();
                service.restart();
            }
            Act::All => {
                servers.postgres.kill9().unwrap();
                servers.redis.kill9();
                service.kill9();
                service.restart();
                servers.redis.restart().unwrap();
                servers.postgres.restart().unwrap();
                runtime.block_on(service.client.wait_until_up("postgres"));
            }
        }
        postgres_runs ^= matches!(act, Act::Postgres);
        redis_runs ^= matches!(act, Act::Redis);
    }
    over.store(true, Ordering::SeqCst);
    for sender in senders {
        runtime.block_on(sender).unwrap();
    }

    // PostgreSQL away, a long queue; PostgreSQL back, and the service killed when half of it is done.
    servers.postgres.kill9().unwrap();
    runtime.block_on(async {
        for _ in 0..BACKLOG / 100 {
            let marks: Vec<Mark> = (0..100).map(|_| Mark::new(&mut random)).collect();
            backlog_sender.send(&marks, &mut random).await;
            backlog_sender.send(&[Mark::large(&mut random)], &mut random).await;
        }
    });
    let mut redis = runtime.block_on(servers.redis());
    let mut queued = || -> usize {
        let mut length = redis::cmd("XLEN");
        runtime.block_on(length.arg(datastorage::queue::STREAM).query_async(&mut redis)).unwrap()
    };
    let full = queued();
    servers.postgres.restart().unwrap();
    wait_for_queue(full / 2, &mut queued, &service);
    service.kill9();
    let left = queued();
    service.restart();
    wait_for_queue(0, &mut queued, &service);

    let marks: Vec<(String, i64, i32)> = runtime.block_on(async {
        let query =
            "SELECT event_data->>'mark', count(*), min(length(event_data->>'padding')) FROM audit_events GROUP BY 1";
        sqlx::query_as(query).fetch_all(&mut servers.sql().await).await.unwrap()
    });
    let found: HashMap<&str, (i64, usize)> = marks
        .iter()
        .map(|(mark, count, padding_bytes)| (mark.as_str(), (*count, usize::try_from(*padding_bytes).unwrap())))
        .collect();
    let tally = tally.lock().unwrap();
    let is_whole = |mark: &Mark| found.get(mark.name.as_str()).is_some_and(|(_, bytes)| *bytes == mark.padding_bytes);
    let lost = tally.promised.iter().filter(|mark| !is_whole(mark)).count();
    let doubled = found.values().filter(|(count, _)| *count > 1).count();
    let large = tally.promised.iter().filter(|mark| mark.padding_bytes > 0).count();
    let peak_mib = service.peak_mib();
    let mut redis = runtime.block_on(servers.redis());
    let mut dead = redis::cmd("XLEN");
    let dead: usize = runtime.block_on(dead.arg(datastorage::queue::DEAD_LETTERS).query_async(&mut redis)).unwrap();
    println!(
        "{seed:>4} {:>6} {:>6} {:>6} {:>6} {:>8} {:>11} {large:>6} {full:>7} {left:>7} {:>6} {lost:>5} {doubled:>8} {dead:>5} {peak_mib:>4} {:>6.1}",
        posts.load(Ordering::SeqCst),
        tally.sent,
        tally.stored,
        tally.queued,
        tally.refused,
        tally.unanswered,
        found.len(),
        begun.elapsed().as_secs_f64(),
    );
    assert_eq!((lost, doubled, dead), (0, 0, 0), "seed {seed}: lost or cut, doubled, dead letters; {plan:?}");
    assert!(peak_mib <= PEAK_MIB, "seed {seed}: the service has held {peak_mib} MiB; {plan:?}");
    [tally.stored, tally.queued, tally.refused + tally.unanswered, left, large]
}

#[test]
fn failure_runs_lose_and_double_nothing() {
    let seeds = std::env::var(SEEDS_ENV).map_or(SEEDS_DEFAULT, |seeds| seeds.parse().unwrap());
    let runtime = Runtime::new().unwrap();
    println!(
        "events, by what they were answered; large: of those with 201 or 202; left: in the queue when the service was"
    );
    println!("killed; MiB: the most that the service held; s: seconds");
    println!(
        "seed  posts   sent    201    202  refused  unanswered  large  queued    left  found  lost  doubled  dead  MiB      s"
    );
    let runs: Vec<_> = (1..=seeds).map(|seed| run(seed, &runtime)).collect();
    for (at, what) in
        ["stored", "queued", "refused or unanswered", "left when the service was killed", "large"].iter().enumerate()
    {
        assert!(runs.iter().any(|run| run[at] > 0), "no event was {what}: the runs show nothing");
    }
}
