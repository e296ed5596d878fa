use axum::extract::Query;
use proptest::prelude::*;
use testbed::{fuzz, hostile};

use super::*;

fn now() -> Timestamp {
    "2025-12-15T12:00:00Z".parse().unwrap()
}

fn parse_one(key: &str, value: &str) -> Result<Filter, String> {
    parse(vec![(key.to_owned(), value.to_owned())], now())
}

#[test]
fn times_are_durations_dates_or_rfc_3339() {
    for (value, since, until) in [
        ("30s", "2025-12-15T11:59:30Z", "2025-12-15T11:59:30Z"),
        ("24h", "2025-12-14T12:00:00Z", "2025-12-14T12:00:00Z"),
        ("7d", "2025-12-08T12:00:00Z", "2025-12-08T12:00:00Z"),
        ("2w", "2025-12-01T12:00:00Z", "2025-12-01T12:00:00Z"),
        ("2025-12-01", "2025-12-01T00:00:00Z", "2025-12-01T23:59:59.999999Z"),
        ("2025-12-01T10:00:00+02:00", "2025-12-01T08:00:00Z", "2025-12-01T08:00:00Z"),
        ("2025-12-01T10:00:00.1234567Z", "2025-12-01T10:00:00.123456Z", "2025-12-01T10:00:00.123456Z"),
    ] {
        let time = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        assert_eq!(parse_one("since", value).unwrap().since, time(since), "since={value}");
        assert_eq!(parse_one("until", value).unwrap().until, time(until), "until={value}");
    }
}

#[test]
fn defaults_and_limits() {
    let filter = parse(Vec::new(), now()).unwrap();
    assert_eq!((filter.limit, filter.offset), (50, 0));
    for (key, value, good) in [
        ("limit", "1", true),
        ("limit", "1000", true),
        ("limit", "0", false),
        ("limit", "1001", false),
        ("offset", "0", true),
        ("offset", "-1", false),
        ("offset", "100000", true),
        ("offset", "100001", false),
        ("total", "exact", true),
        ("total", "true", false),
        ("after", "1764240000123456_0193a1b2c3d47e5f8a9b0c1d2e3f4a5b", true),
        ("after", "1764240000123456", false),
        ("after", "", false),
    ] {
        assert_eq!(parse_one(key, value).is_ok(), good, "{key}={value}");
    }
}

#[test]
fn a_cursor_reads_back_as_it_was() {
    let key = Key { time: "2025-12-01T10:00:00.123456Z".parse().unwrap(), id: uuid::Uuid::now_v7() };
    assert_eq!(parse_one("after", &key.to_string()).unwrap().after, Some(key));
    let both = vec![("after".to_owned(), key.to_string()), ("offset".to_owned(), "1".to_owned())];
    assert!(parse(both, now()).is_err());
}

#[test]
fn whatever_becomes_of_a_query_it_is_refused_or_one_that_postgresql_reads() {
    let good = [
        "correlation_id=rr-1&event_type=a.b&since=24h&until=2025-12-01&limit=10&offset=5&total=exact",
        "event_category=gateway&event_outcome=success&severity=a%20b&since=2025-12-01T10:00:00%2B02:00&until=90m",
        "after=1764240000123456_0193a1b2c3d47e5f8a9b0c1d2e3f4a5b&limit=1000",
    ];
    fuzz::run("queries", 5_000, &good, |query| {
        let Ok(uri) = format!("/x?{}", String::from_utf8_lossy(query)).parse() else { return };
        let Ok(Query(pairs)) = Query::try_from_uri(&uri) else { return };
        match parse(pairs, now()) {
            Ok(filter) => {
                assert!((1..=LIMIT_MAX).contains(&filter.limit) && (0..=OFFSET_MAX).contains(&filter.offset));
                let times = [filter.since, filter.until, filter.after.map(|key| key.time)];
                for time in times.into_iter().flatten() {
                    assert!(time.to_string().starts_with(|first: char| first.is_ascii_digit()), "{time}");
                }
                assert!(filter.equal.iter().all(|(_, value)| !value.is_empty() && !value.contains('\0')));
                assert_eq!(filter.after.map(|key| key.to_string().parse()), filter.after.map(Ok));
            }
            Err(reason) => assert!(reason.len() < 600 && hostile::inside(&reason, query).is_none(), "{reason}"),
        }
    });
}

proptest! {
    #[test]
    fn no_query_makes_it_panic(pairs in prop::collection::vec(("(since|until|limit|offset|after|total|[a-z]*)", any::<String>()), 0..5)) {
        let _ = parse(pairs, now());
    }

    #[test]
    fn any_duration_is_read_or_refused(number in any::<i64>(), unit in "[smhdw]") {
        let _ = parse_one("since", &format!("{number}{unit}"));
    }
}
