//! What a client may ask for.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::event::{self, CATEGORIES, OUTCOMES};
use crate::postgres::{Filter, Key};

const LIMIT_DEFAULT: i64 = 50;
const LIMIT_MAX: i64 = 1000;
/// Whoever wants to see more than that follows `after`, which costs the same everywhere.
const OFFSET_MAX: i64 = 100_000;
/// As in 2025-12-01.
const DATE_CHARS: usize = 10;
const KEYS: &str = "correlation_id, event_type, event_category, event_outcome, severity, since, until, after, limit, \
                    offset, total";

/// Checks that each percent sign of a query encodes a byte, and that all of them are text: what reads a query makes
/// something of everything.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check_encoding(query: &str) -> Result<(), &'static str> {
    let (mut bytes, mut rest) = (Vec::with_capacity(query.len()), query.as_bytes());
    while let Some((&first, behind)) = rest.split_first() {
        let digit = |at: usize| behind.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        let (byte, behind) = match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => ((high * 16 + low) as u8, &behind[2..]),
            (b'%', ..) => return Err("the query has a % that is not followed by two hexadecimal digits"),
            _ => (first, behind),
        };
        bytes.push(byte);
        rest = behind;
    }
    std::str::from_utf8(&bytes).map(|_| ()).map_err(|_| "the query encodes bytes that are no UTF-8")
}

/// Reads the parameters of a query.
///
/// # Errors
/// The parameter that is unknown, given twice, or wrong: one that is passed over in silence would
/// answer a question that nobody asked.
pub(super) fn parse(query: Vec<(String, String)>, now: Timestamp) -> Result<Filter, String> {
    let mut filter = Filter { limit: LIMIT_DEFAULT, ..Filter::default() };
    let mut seen: Vec<String> = Vec::new();
    for (key, value) in query {
        if seen.contains(&key) {
            return Err(format!("{}: is given twice", event::cut(&key)));
        }
        set(&mut filter, &key, value, now).map_err(|reason| format!("{}: {reason}", event::cut(&key)))?;
        seen.push(key);
    }
    if filter.after.is_some() && filter.offset > 0 {
        return Err("offset: has no meaning beside after".to_owned());
    }
    match (filter.since, filter.until) {
        (Some(since), Some(until)) if since > until => Err("since: is later than until".to_owned()),
        _ => Ok(filter),
    }
}

fn set(filter: &mut Filter, key: &str, value: String, now: Timestamp) -> Result<(), String> {
    let (column, checked) = match key {
        "correlation_id" => ("correlation_id", event::check_text(&value, 255)),
        "event_type" => ("event_type", event::check_text(&value, 100)),
        "event_category" => ("event_category", event::check_one_of(&value, &CATEGORIES)),
        "event_outcome" => ("event_outcome", event::check_one_of(&value, &OUTCOMES)),
        "severity" => ("severity", event::check_text(&value, 20)),
        "since" => {
            filter.since = Some(time(&value, now, End::First)?);
            return Ok(());
        }
        "until" => {
            filter.until = Some(time(&value, now, End::Last)?);
            return Ok(());
        }
        "limit" => {
            filter.limit = number(&value, 1, LIMIT_MAX)?;
            return Ok(());
        }
        "offset" => {
            filter.offset = number(&value, 0, OFFSET_MAX)
                .map_err(|reason| format!("{reason}; follow pagination.next with after to read on"))?;
            return Ok(());
        }
        "after" => {
            let key = value.parse().ok().filter(|key: &Key| is_storable(key.time));
            filter.after = Some(key.ok_or("must be what an answer had as pagination.next")?);
            return Ok(());
        }
        "total" => {
            if value != "exact" {
                return Err("may be exact alone".to_owned());
            }
            filter.count_all = true;
            return Ok(());
        }
        _ => return Err(format!("is not a parameter; there are {KEYS}")),
    };
    checked?;
    filter.equal.push((column, value));
    Ok(())
}

fn number(value: &str, min: i64, max: i64) -> Result<i64, String> {
    let number = value.parse::<i64>().ok().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| format!("must be a whole number from {min} to {max}"))
}

/// Which moment of a day a date stands for.
#[derive(Clone, Copy)]
enum End {
    First,
    Last,
}

/// `24h`: so long ago; a date: the beginning or the end of that day, in UTC; or an RFC 3339 time. Both
/// ends belong to what is asked for.
fn time(value: &str, now: Timestamp, end: End) -> Result<Timestamp, String> {
    let found = ago(value, now).or_else(|| value.parse().ok()).or_else(|| {
        // A time of day without a zone stands for no moment, least of all for the end of its day.
        let day: Date = value.parse().ok().filter(|_| value.len() == DATE_CHARS)?;
        let start = |day: Date| Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp());
        match end {
            End::First => start(day),
            End::Last => start(day.tomorrow().ok()?)?.checked_sub(1.microsecond()).ok(),
        }
    });
    // In whole microseconds, as events are kept: the very time that was sent with an event finds it.
    found
        .and_then(|time| Timestamp::from_microsecond(time.as_microsecond()).ok())
        .filter(|time| is_storable(*time))
        .ok_or_else(|| "must be a duration such as 24h or 7d, an RFC 3339 time, or a date".to_owned())
}

/// PostgreSQL reads years of four digits.
fn is_storable(time: Timestamp) -> bool {
    (1..=9998).contains(&time.to_zoned(TimeZone::UTC).year())
}

fn ago(value: &str, now: Timestamp) -> Option<Timestamp> {
    let unit = value.chars().last()?;
    let number: i64 = value[..value.len() - unit.len_utf8()].parse().ok().filter(|number| *number >= 0)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        'w' => 7 * 24 * 3600,
        _ => return None,
    };
    now.checked_sub(SignedDuration::from_secs(number.checked_mul(seconds)?)).ok()
}

#[cfg(test)]
mod tests;
