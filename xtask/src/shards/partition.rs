//! Which shard a run is, and which specs each has: what runs write down.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// More shards than anybody has machines: a number above this is a slip.
const MOST: usize = 1000;

/// Which one of so many shards a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Partition {
    index: usize,
    count: usize,
}

impl Partition {
    /// The `index`-th of `count` shards, from 1; none where there is no such shard.
    pub fn new(index: usize, count: usize) -> Option<Self> {
        ((1..=count).contains(&index) && count <= MOST).then_some(Self { index, count })
    }

    /// Which shard, from 1.
    pub fn index(self) -> usize {
        self.index
    }

    /// Of how many.
    pub fn count(self) -> usize {
        self.count
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Partition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<usize>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        let numbers = text.split_once('/').and_then(|(index, count)| Some((number(index)?, number(count)?)));
        let (index, count) = numbers.ok_or("which shard of how many is two numbers, as in 1/2")?;
        match (index, count) {
            (_, 0) => Err("there have to be shards: 1/1 is all of one".to_owned()),
            (0, _) => Err(format!("shards are counted from 1: the first one is 1/{count}")),
            _ if count > MOST => Err(format!("{count} shards are more than the {MOST} that there may be")),
            _ => Self::new(index, count).ok_or_else(|| format!("the last one of {count} shards is {count}/{count}")),
        }
    }
}

impl TryFrom<String> for Partition {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Partition> for String {
    fn from(partition: Partition) -> Self {
        partition.to_string()
    }
}

/// A spec as its program lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Whether it wants a part of the system for itself, so that it runs after those that share.
    pub alone: bool,
}

/// All shards of a list of specs: what each run of one of them writes down, so that who merges them can compare.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// The names that each shard is to run.
    pub shards: Vec<Vec<String>>,
    /// The hash of the file of times that they are split by; none where there is no such file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<String>,
}

impl Split {
    /// The names of this shard.
    pub fn of(&self, partition: Partition) -> &[String] {
        self.shards.get(partition.index() - 1).map_or(&[], Vec::as_slice)
    }

    /// The shard that has this spec, from 1.
    pub fn owner(&self, spec: &str) -> Option<usize> {
        self.shards.iter().position(|shard| shard.iter().any(|name| name == spec)).map(|at| at + 1)
    }

    /// All that are to run.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.shards.iter().flatten().map(String::as_str)
    }
}
