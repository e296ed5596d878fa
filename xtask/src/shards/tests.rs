//! Which shard has what, and files of times.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::split::{split, weight};
use super::times::{Time, Times};
use super::{Listed, Partition, Shard, Split};
use crate::events::{Event, Timeline, What};

#[test]
fn a_shard_is_one_of_those_that_there_are() {
    for (text, expected) in [
        ("1/1", Ok((1, 1))),
        ("2/3", Ok((2, 3))),
        ("1000/1000", Ok((1000, 1000))),
        ("0/2", Err("shards are counted from 1: the first one is 1/2")),
        ("3/2", Err("the last one of 2 shards is 2/2")),
        ("1/0", Err("there have to be shards")),
        ("0/0", Err("there have to be shards")),
        ("1/1001", Err("1001 shards are more than the 1000")),
        ("a/b", Err("two numbers, as in 1/2")),
        ("1", Err("two numbers")),
        ("1/2/3", Err("two numbers")),
        ("-1/2", Err("two numbers")),
        ("+1/2", Err("two numbers")),
        (" 1/2", Err("two numbers")),
        ("/", Err("two numbers")),
        ("", Err("two numbers")),
        ("1/99999999999999999999999", Err("two numbers")),
    ] {
        let parsed: Result<Partition, String> = text.parse();
        match (parsed, expected) {
            (Ok(partition), Ok((index, count))) => {
                assert_eq!((partition.index(), partition.count()), (index, count));
                assert_eq!(partition.to_string(), text);
            }
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{text}: {error}"),
            (parsed, _) => panic!("{text}: {parsed:?}"),
        }
    }
}

fn listed(name: &str, alone: bool) -> Listed {
    Listed { name: name.to_owned(), alone }
}

/// Specs, times of some of them and of some that are no more, and how many shards.
fn inputs() -> impl Strategy<Value = (Vec<Listed>, Times, usize)> {
    let spec = ("[a-e]::s[0-9]{2}", any::<bool>(), proptest::option::of(0_u64..20_000));
    let specs = proptest::collection::btree_map(spec.0, (spec.1, spec.2), 0..60);
    let gone = proptest::collection::btree_map("gone::s[0-9]", (0_u64..20_000, any::<bool>()), 0..3);
    (specs, gone, 1_usize..9).prop_map(|(specs, gone, count)| {
        let known =
            specs.iter().filter_map(|(name, (alone, ms))| Some((name.clone(), Time { ms: (*ms)?, alone: *alone })));
        let gone = gone.into_iter().map(|(name, (ms, alone))| (name, Time { ms, alone }));
        let times = Times { specs: known.chain(gone).collect(), hash: None };
        let listed = specs.iter().map(|(name, (alone, _))| listed(name, *alone)).collect();
        (listed, times, count)
    })
}

fn owners(shards: &[Vec<String>]) -> BTreeMap<&str, usize> {
    shards.iter().enumerate().flat_map(|(at, names)| names.iter().map(move |name| (name.as_str(), at))).collect()
}

proptest! {
    #[test]
    fn each_spec_is_in_one_shard((specs, times, count) in inputs()) {
        let shards = split(&specs, &times, count);
        prop_assert_eq!(shards.len(), count);
        let mut names: Vec<&String> = shards.iter().flatten().collect();
        names.sort();
        let mut expected: Vec<&String> = specs.iter().map(|spec| &spec.name).collect();
        expected.sort();
        prop_assert_eq!(names, expected);
    }

    #[test]
    fn the_order_in_which_specs_are_listed_changes_nothing((specs, times, count) in inputs(), seed in any::<u64>()) {
        let mut other = specs.clone();
        // As good as any other order.
        other.sort_by_key(|spec| spec.name.bytes().fold(seed, |hash, byte| hash.wrapping_mul(31) ^ u64::from(byte)));
        prop_assert_eq!(split(&specs, &times, count), split(&other, &times, count));
    }

    #[test]
    fn where_lists_differ_what_has_a_time_or_shares_stays_where_it_is((specs, times, count) in inputs(), every in 2_usize..5) {
        let fewer: Vec<Listed> = specs.iter().enumerate().filter(|(at, _)| at % every > 0).map(|(_, spec)| spec.clone()).collect();
        let (all, some) = (split(&specs, &times, count), split(&fewer, &times, count));
        let (all, some) = (owners(&all), owners(&some));
        for spec in fewer.iter().filter(|spec| !spec.alone || times.specs.contains_key(&spec.name)) {
            prop_assert_eq!(all[spec.name.as_str()], some[spec.name.as_str()], "{}", spec.name);
        }
    }

    #[test]
    fn shards_of_known_times_differ_by_one_spec_at_most((specs, times, count) in inputs()) {
        let known: Vec<Listed> = times.specs.iter().map(|(name, time)| listed(name, time.alone)).collect();
        let cost = |name: &String| weight(times.specs[name].alone, times.specs[name].ms);
        let shards = split(&known, &times, count);
        let loads: Vec<u64> = shards.iter().map(|names| names.iter().map(cost).sum()).collect();
        let longest = times.specs.keys().map(cost).max().unwrap_or(0);
        let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
        prop_assert!(most - least <= longest, "{loads:?}");
        // So do those that run alone, for themselves.
        let alone = |name: &&String| times.specs[*name].alone;
        let loads: Vec<u64> = shards.iter().map(|names| names.iter().filter(alone).map(cost).sum()).collect();
        let longest = times.specs.keys().filter(alone).map(cost).max().unwrap_or(0);
        prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= longest, "{loads:?}");
        let _ = specs;
    }

    #[test]
    fn without_times_those_that_run_alone_are_spread_evenly((specs, _, count) in inputs()) {
        let shards = split(&specs, &Times::default(), count);
        let alone: BTreeSet<&str> = specs.iter().filter(|spec| spec.alone).map(|spec| spec.name.as_str()).collect();
        let counts: Vec<usize> =
            shards.iter().map(|names| names.iter().filter(|name| alone.contains(name.as_str())).count()).collect();
        prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
    }

    #[test]
    fn what_is_written_is_read((_, times, _) in inputs()) {
        let dir = tempfile::tempdir().unwrap();
        let file = camino::Utf8Path::from_path(dir.path()).unwrap().join("times.yaml");
        std::fs::write(&file, times.text("s")).unwrap();
        prop_assert_eq!(Times::read("".into(), &file).unwrap().specs, times.specs);
    }
}

#[test]
fn a_split_is_the_same_on_every_machine() {
    // Not what is right, but what it must stay, or shards of two machines with two builds of this program differ.
    let specs: Vec<Listed> = (1..=8).map(|number| listed(&format!("a::s{number}"), number > 5)).collect();
    let known = [("a::s1", 900, false), ("a::s6", 5000, true), ("a::s7", 4000, true), ("a::s2", 8000, false)];
    let specs_of = known.map(|(name, ms, alone)| (name.to_owned(), Time { ms, alone }));
    let times = Times { specs: specs_of.into(), hash: None };
    let shards = split(&specs, &times, 2);
    assert_eq!(shards, [vec!["a::s1", "a::s6", "a::s8"], vec!["a::s2", "a::s3", "a::s4", "a::s5", "a::s7"]]);
}

#[test]
fn a_suite_of_many_short_and_some_long_specs_is_split_into_equal_parts() {
    let mut times = Times::default();
    for number in 0..47 {
        times.specs.insert(format!("a::s{number:02}"), Time { ms: 200 + number * number, alone: false });
    }
    for number in 0..13 {
        times.specs.insert(format!("b::s{number:02}"), Time { ms: 2500 + 700 * number, alone: true });
    }
    let specs: Vec<Listed> = times.specs.iter().map(|(name, time)| listed(name, time.alone)).collect();
    for count in 2..=5 {
        let shards = split(&specs, &times, count);
        let cost = |name: &String| weight(times.specs[name].alone, times.specs[name].ms);
        let loads: Vec<u64> = shards.iter().map(|names| names.iter().map(cost).sum()).collect();
        let (least, most) = (*loads.iter().min().unwrap(), *loads.iter().max().unwrap());
        assert!((most - least) * 10 < most, "{count} shards: {loads:?}");
    }
}

#[test]
fn a_filter_leaves_specs_where_they_are() {
    let specs: Vec<Listed> = (0..20).map(|number| listed(&format!("a::s{number:02}"), number % 3 == 0)).collect();
    let shard = |index| Shard { partition: Partition::new(index, 3).unwrap(), times: Times::default() };
    let all = shard(1).split(&specs, |_| true);
    let some = shard(2).split(&specs, |name| name.contains("s1"));
    assert_eq!(some.all().count(), 10);
    assert!(some.all().all(|name| some.owner(name) == all.owner(name)));
    assert_eq!(all.of(shard(3).partition), all.shards[2]);
    assert!(all.owner("a::s99").is_none());
}

#[test]
fn a_file_that_is_none_of_times_is_told_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let root = camino::Utf8Path::from_path(dir.path()).unwrap();
    for (text, expected) in [
        ("specs:\n  one: { ms: 1, alne: true }\n", "times.yaml:2:17: specs.one: unknown field `alne`"),
        ("specs:\n  one: { ms: -1 }\n", "times.yaml:2:"),
        ("specs:\n  one: { ms: 1 }\n  one: { ms: 2 }\n", "duplicate"),
        ("times: {}\n", "unknown field `times`"),
        ("", "missing field `specs`"),
    ] {
        std::fs::write(root.join("times.yaml"), text).unwrap();
        let error = Times::read(root, "times.yaml".into()).unwrap_err().to_string();
        assert!(error.contains(expected) && error.starts_with("times.yaml"), "{error}");
    }
    assert!(Times::read(root, "no.yaml".into()).unwrap_err().to_string().contains("cannot read it"));
}

/// A run in which each of these specs took so many milliseconds, as often as it ran.
fn run(specs: &[(&str, u64, u32)], split: Option<Split>) -> Timeline {
    let names: Vec<String> = specs.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let alone = names.iter().filter(|name| name.starts_with("alone")).cloned().collect();
    let mut what = vec![(0, What::SpecsListed { specs: names, alone })];
    what.extend(split.map(|split| (0, What::SpecsSplit(split))));
    for (spec, ms, attempts) in specs.iter().filter(|(.., attempts)| *attempts > 0) {
        what.push((1_000_000, What::SpecStarted { spec: (*spec).to_owned() }));
        what.push((1_000_000 + ms * 1000, What::SpecPassed { spec: (*spec).to_owned(), attempts: *attempts }));
    }
    let events: Vec<Event> = what.into_iter().map(|(at_us, what)| Event { at_us, what }).collect();
    Timeline::of(&events)
}

#[test]
fn times_are_the_medians_of_the_newest_runs() {
    let before: BTreeMap<String, Time> = [
        ("alone_red".to_owned(), Time { ms: 7000, alone: true }),
        ("far".to_owned(), Time { ms: 800, alone: true }),
        ("gone".to_owned(), Time { ms: 900, alone: false }),
    ]
    .into();
    let before = Times { specs: before, hash: None };
    let elsewhere =
        Split { shards: vec![vec!["one".to_owned()], vec!["far".to_owned(), "new".to_owned()]], times: None };
    let mut runs = vec![run(&[("one", 90_000, 1)], None)];
    for ms in [1000, 1010, 5000, 1020, 1030] {
        // One that was tried twice, and one that did not end.
        runs.push(run(&[("one", ms, 1), ("alone_two", 2000, 1), ("flaky", 100, 2), ("alone_red", 1, 0)], None));
    }
    runs.push(run(&[("one", 1005, 1)], Some(elsewhere)));
    let times = Times::measured(&runs, &before);
    let found: Vec<(&str, u64, bool)> =
        times.specs.iter().map(|(name, time)| (name.as_str(), time.ms, time.alone)).collect();
    assert_eq!(found, [("alone_red", 7000, true), ("alone_two", 2000, true), ("far", 800, true), ("one", 1050, false)]);
}
