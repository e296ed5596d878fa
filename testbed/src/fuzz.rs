//! Changes good texts at random, again and again, so that what reads them meets what nobody thought of.
//!
//! A change knows words, texts and brackets of JSON, so that most of what comes out is still read half-way. Each case
//! follows from its number alone: what fails says which, and `FUZZ_FIRST` begins there.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::random::Random;

/// For how many seconds each test goes on, instead of its usual number of cases.
const SECONDS_ENV: &str = "FUZZ_SECONDS";
/// The number of the first case.
const FIRST_ENV: &str = "FUZZ_FIRST";
/// Changes of one case, at most.
const CHANGES_MAX: usize = 6;
/// A text does not grow beyond this by what is repeated.
const BYTES_MAX: usize = 256 * 1024;

/// Values that are hard to read, to keep, or to write.
const ODD: [&[u8]; 54] = [
    b"null",
    b"true",
    b"0",
    b"-0",
    b"-1",
    b"1.5",
    b"1e400",
    b"-1e-400",
    b"1E+99999999999999999999",
    b"NaN",
    b"01",
    b"9223372036854775807",
    b"-9223372036854775809",
    b"18446744073709551616",
    b"\"\"",
    b"\" \"",
    b"\"\\u0000\"",
    b"\"\\ud800\"",
    b"\"\\udc00\\ud800\"",
    b"\"\\ud83d\\ude00\"",
    b"\"\\ufeff\\uffff\"",
    b"\"\\u\"",
    b"\"\\x\"",
    b"\"\0\"",
    b"\"\xff\"",
    b"\"\xed\xa0\x80\"",
    b"\"\xd0\x96\"",
    b"\"../../x\"",
    b"\"%00%2e%2e\"",
    b"\"'; --\"",
    b"\"<<<<\"",
    b"\"0000-01-01T00:00:00Z\"",
    b"\"0001-01-01T00:00:00Z\"",
    b"\"9999-12-31T23:59:59.999999999Z\"",
    b"\"-009999-01-01T00:00:00Z\"",
    b"\"2016-12-31T23:59:60Z\"",
    b"\"2025-02-30T00:00:00Z\"",
    b"\"10000-01-01T00:00:00Z\"",
    b"\"2025-12-01T10:00:00+25:00\"",
    b"\"2025-12-01T10:00:00[Europe/Berlin]\"",
    b"\"00000000-0000-0000-0000-000000000000\"",
    b"\"{ffffffff-ffff-ffff-ffff-ffffffffffff}\"",
    b"\"urn:uuid:1\"",
    b"[]",
    b"{}",
    b"[{}]",
    b"[[]]",
    b"{\"\":{}}",
    b"{\"a\":1,\"a\":2}",
    b",",
    b":",
    b"\"",
    b"\\",
    b"\xef\xbb\xbf",
];

/// What a run came to.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub cases: u64,
    pub took: Duration,
}

/// Says which case it was that panicked.
struct Told<'a>(u64, &'a [u8]);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let shown = String::from_utf8_lossy(&self.1[..self.1.len().min(2_000)]);
            eprintln!("{FIRST_ENV}={} begins with the case that failed, of {} bytes: {shown}", self.0, self.1.len());
        }
    }
}

/// Hands `cases` changed texts to `check`, which panics where it finds a fault; as many as there is time for, where
/// `FUZZ_SECONDS` says how long.
pub fn run(name: &str, cases: u64, good: &[&str], mut check: impl FnMut(&[u8])) -> Run {
    let number = |variable| std::env::var(variable).ok().map(|text| text.parse().expect("a whole number"));
    let first = number(FIRST_ENV).unwrap_or_else(|| std::process::id().into());
    let (begun, end) = (Instant::now(), number(SECONDS_ENV).map(Duration::from_secs));
    let mut done = 0;
    while end.map_or(done < cases, |end| begun.elapsed() < end) {
        let number = first.wrapping_add(done);
        let text = changed(&mut Random::new(number.wrapping_mul(0x5851_F42D_4C95_7F2D)), good);
        let told = Told(number, &text);
        check(&text);
        drop(told);
        done += 1;
    }
    let run = Run { cases: done, took: begun.elapsed() };
    println!("{name}: {} cases in {:.1} s", run.cases, run.took.as_secs_f64());
    run
}

fn changed(random: &mut Random, good: &[&str]) -> Vec<u8> {
    let mut text = random.of(good).as_bytes().to_vec();
    for _ in 0..=random.below(CHANGES_MAX) {
        let other = random.of(good).as_bytes();
        change(random, &mut text, other);
    }
    text
}

fn change(random: &mut Random, text: &mut Vec<u8>, other: &[u8]) {
    let word = word(random, text);
    let at = random.below(text.len());
    match random.below(12) {
        0..=2 => drop(text.splice(word, random.of(&ODD).iter().copied())),
        3 => {
            let theirs = self::word(random, other);
            text.splice(word, other[theirs].iter().copied());
        }
        4 => drop(text.drain(word)),
        5 => {
            let twice = [&text[word.clone()], b",".as_slice(), &text[word.clone()]].concat();
            text.splice(word, twice);
        }
        6 => {
            let deep = 1 << random.below(13);
            let (open, close): (&[u8], &[u8]) = if random.below(2) == 0 { (b"[", b"]") } else { (b"{\"a\":", b"}") };
            let nested = [&open.repeat(deep), &text[word.clone()], &close.repeat(deep)].concat();
            text.splice(word, nested);
        }
        7 => {
            let times = (1 << random.below(17)).min(BYTES_MAX / word.len().max(1));
            let long = text[word.clone()].repeat(times);
            text.splice(word, long);
        }
        8 => text.truncate(at),
        9 => {
            let end = at + random.below(text.len() - at + 1);
            text.drain(at..end);
        }
        10 => {
            let byte = random.number().to_le_bytes()[0];
            text.splice(at..(at + 1).min(text.len()), [byte]);
        }
        _ => {
            let begin = random.below(other.len());
            let end = begin + random.below(other.len() - begin + 1);
            text.splice(at..at, other[begin..end].iter().copied());
        }
    }
}

/// Where a text, a number, a name or a sign is, or all between two brackets; empty where there is none.
fn word(random: &mut Random, text: &[u8]) -> Range<usize> {
    let mut words = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let end = at + length(&text[at..]);
        if !text[at].is_ascii_whitespace() {
            words.push(at..end);
        }
        at = end;
    }
    let chosen = random.below(words.len());
    let Some(word) = words.get(chosen).cloned() else { return 0..0 };
    let mut depth = 0_i32;
    for other in &words[chosen..] {
        depth += match text[other.start] {
            b'[' | b'{' => 1,
            b']' | b'}' => -1,
            _ => 0,
        };
        if depth == 0 && random.below(3) > 0 {
            return word.start..other.end;
        }
        if depth <= 0 {
            break;
        }
    }
    word
}

/// How long the word is with which a text begins.
fn length(text: &[u8]) -> usize {
    if text[0] == b'"' {
        let mut at = 1;
        while at < text.len() && text[at] != b'"' {
            at += if text[at] == b'\\' { 2 } else { 1 };
        }
        return (at + 1).min(text.len());
    }
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-._:%".contains(byte);
    text.iter().take_while(|byte| is_of_name(byte)).count().max(1)
}
