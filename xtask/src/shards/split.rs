//! Which shard has which spec: pure, and the same wherever the list of specs and the file of times are.
//!
//! A spec that has a time goes where the file alone says, and one that has none and shares the system where its own name
//! does. So also shards whose lists differ run each of these once. Only specs that run alone and have no time are dealt out
//! by the list: there are few, they take long, and to be spread evenly matters more.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::Listed;
use super::times::Times;

/// About how many specs that share the system run side by side: so much shorter is what they add to a run than what they
/// take.
const SIDE_BY_SIDE: u64 = 8;

/// The names of each of `count` shards, each in the order of the names.
pub(super) fn split(specs: &[Listed], times: &Times, count: usize) -> Vec<Vec<String>> {
    let timed = by_time(times, count);
    let mut alone = timed.alone;
    let mut names: Vec<&Listed> = specs.iter().collect();
    names.sort_by(|a, b| a.name.cmp(&b.name));
    names.dedup_by(|a, b| a.name == b.name);
    let mut shards = vec![Vec::new(); count];
    for spec in names {
        let shard = match timed.shards.get(spec.name.as_str()) {
            Some(shard) => *shard,
            None if spec.alone => {
                let fewest = least(alone.iter().copied());
                alone[fewest] += 1;
                fewest
            }
            None => by_name(&spec.name, count),
        };
        shards[shard].push(spec.name.clone());
    }
    shards
}

/// Where the specs of a file of times go.
struct Timed<'t> {
    shards: BTreeMap<&'t str, usize>,
    /// How many of each shard run alone.
    alone: Vec<usize>,
}

/// Each spec, the longest first, to the shard that takes least so far. Those that run alone come before all others: nothing
/// runs beside most of them, and what they leave uneven the many short ones even out.
fn by_time(times: &Times, count: usize) -> Timed<'_> {
    let mut specs: Vec<(&str, bool, u64)> =
        times.specs.iter().map(|(name, time)| (name.as_str(), time.alone, time.ms)).collect();
    specs.sort_by(|a, b| (!a.1, Reverse(a.2), a.0).cmp(&(!b.1, Reverse(b.2), b.0)));
    let mut load = vec![0_u64; count];
    let mut timed = Timed { shards: BTreeMap::new(), alone: vec![0; count] };
    for (name, alone, ms) in specs {
        let shard = least(load.iter().copied());
        load[shard] = load[shard].saturating_add(weight(alone, ms));
        timed.alone[shard] += usize::from(alone);
        timed.shards.insert(name, shard);
    }
    timed
}

/// What a spec adds to a run, in eighths of a millisecond. None adds nothing, so that many short ones do not all go to one
/// shard.
pub(super) fn weight(alone: bool, ms: u64) -> u64 {
    let ms = ms.max(1);
    if alone { ms.saturating_mul(SIDE_BY_SIDE) } else { ms }
}

/// Where the smallest value is; the first of several.
fn least<T: Ord>(values: impl Iterator<Item = T>) -> usize {
    values.enumerate().min_by(|a, b| a.1.cmp(&b.1).then(a.0.cmp(&b.0))).map_or(0, |(at, _)| at)
}

/// By the hash of the name, which no other spec changes.
fn by_name(name: &str, count: usize) -> usize {
    let hash = Sha256::digest(name.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    usize::try_from(u64::from_be_bytes(first) % count as u64).unwrap_or(0)
}
